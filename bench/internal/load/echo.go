//go:build linux

package load

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// echoRole listens, replies "listening" with its addresses, and sends back what it receives until
// either side closes. It answers "await N" with "ended" when at least N connections have ended. To
// cost little, one thread serves all of them.
func echoRole(o Options, in *bufio.Scanner, reply Reply) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	e := &echoServer{epoll: epoll, listeners: map[int]bool{}}
	var addrs []string
	for range o.ports {
		addr, err := e.listen()
		if err != nil {
			return err
		}
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

// listen adds a listener and returns its address.
func (e *echoServer) listen() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	e.listeners[fd] = true
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), watch(e.epoll, fd)
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
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for {
		ready, err := wait(e.epoll, events)
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
	fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR) {
		return nil // the connection has gone again
	}
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	return watch(e.epoll, fd)
}

// echo sends back the bytes that are there and reports whether the connection is still open.
func echo(fd int, buf []byte) bool {
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EINTR) {
		return true // epoll reports it again
	}
	return err == nil && n > 0 && writeAll(fd, buf[:n]) == nil
}
