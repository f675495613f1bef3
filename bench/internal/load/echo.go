//go:build linux

package load

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// echoRole listens, replies "listening" with its addresses, and sends back what it receives until
// either side closes. It answers "await N" with "ended" when at least N connections have ended. To
// cost little, one goroutine serves all of them with raw calls.
func echoRole(o Options, in *bufio.Scanner, reply Reply) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	e := &echoServer{epoll: epoll, listeners: map[int]bool{}}
	var addrs []string
	for range o.ports {
		fd, addr, err := listenNonblocking(AnyPort)
		if err != nil {
			return err
		}
		if err := watch(e.epoll, fd); err != nil {
			return err
		}
		e.listeners[fd] = true
		addrs = append(addrs, addr)
	}
	reply("listening %s", strings.Join(addrs, " "))
	go e.answerCommands(in, reply)
	return e.serve()
}

// echoServer sends back what it receives. Its descriptors are closed when the process ends.
type echoServer struct {
	epoll     int
	listeners map[int]bool
	ended     atomic.Int64 // connections
}

// answerCommands ends the process at the end of in.
func (e *echoServer) answerCommands(in *bufio.Scanner, reply Reply) {
	for in.Scan() {
		var n int64
		if _, err := fmt.Sscanf(in.Text(), "await %d", &n); err != nil {
			reply("error %q: %v", in.Text(), err)
			os.Exit(1)
		}
		for e.ended.Load() < n {
			time.Sleep(time.Millisecond)
		}
		reply("ended")
	}
	os.Exit(0)
}

func (e *echoServer) serve() error {
	allowRaw(1)
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for {
		ready, err := rawWait(e.epoll, events)
		if err != nil {
			return err
		}
		for _, event := range ready {
			fd := int(event.Fd)
			switch {
			case e.listeners[fd]:
				if err := e.accept(fd); err != nil {
					return err
				}
			case !echo(fd, buf):
				unix.Close(fd)
				e.ended.Add(1)
			}
		}
	}
}

func (e *echoServer) accept(ln int) error {
	fd, ok, err := acceptOne(ln)
	if !ok {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	return watch(e.epoll, fd)
}

// echo sends back the bytes that are there and reports whether the connection is still open.
func echo(fd int, buf []byte) bool {
	n, err := rawRead(fd, buf)
	if errors.Is(err, unix.EINTR) {
		return true // epoll reports it again
	}
	return err == nil && n > 0 && writeAll(fd, buf[:n]) == nil
}
