//go:build linux

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CallsAtOnce is how many connections a caller has open at a time.
const CallsAtOnce = 32

// Call opens n connections and returns how long they took, once the target has seen so many end in all.
func Call(caller, target *Child, n, ended int) (seconds float64, err error) {
	fields, err := caller.Ask(fmt.Sprintf("call %d", n), "called")
	if err != nil {
		return 0, err
	}
	if _, err := target.Ask(fmt.Sprintf("await %d", ended), "ended"); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.Join(fields, " "), 64)
}

// callRole, on "call N", opens N connections, some at a time, sends a message on each and takes it back, and says "called" with the
// seconds that this took. One thread does it all, since it should cost little.
func callRole(o Options, in *bufio.Scanner, say func(string, ...any)) error {
	runtime.LockOSThread()
	c := &caller{message: compose(1, 1000)[:o.size], reply: make([]byte, o.size)}
	for _, to := range o.To {
		addr, err := net.ResolveTCPAddr("tcp4", to)
		if err != nil {
			return err
		}
		c.to = append(c.to, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())})
	}
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	for in.Scan() {
		var n int
		if _, err := fmt.Sscanf(in.Text(), "call %d", &n); err != nil {
			return err
		}
		begin := time.Now()
		if err := c.call(n); err != nil {
			return err
		}
		say("called %f", time.Since(begin).Seconds())
	}
	return nil
}

// caller opens connections and waits for several at a time.
type caller struct {
	to             []unix.Sockaddr
	message, reply []byte
	epoll          int
	opened         int // in all, to take the addresses in turn
}

func (c *caller) call(n int) error {
	events := make([]unix.EpollEvent, CallsAtOnce)
	left := n
	for range min(n, CallsAtOnce) {
		left--
		if err := c.open(); err != nil {
			return err
		}
	}
	for done := 0; done < n; {
		ready, err := wait(c.epoll, events)
		if err != nil {
			return err
		}
		for _, e := range ready {
			if err := c.finish(int(e.Fd)); err != nil {
				return err
			}
			if done++; left > 0 {
				left--
				if err := c.open(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// open connects and sends. On the loopback neither waits for anybody: the kernel answers, and the message fits into its buffer.
func (c *caller) open() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, c.to[c.opened%len(c.to)]); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.opened++
	if err := writeAll(fd, c.message); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return watch(c.epoll, fd)
}

func (c *caller) finish(fd int) error {
	if err := readAll(fd, c.reply); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(c.reply, c.message) {
		return fmt.Errorf("%q came back as %q", c.message, c.reply)
	}
	return unix.Close(fd)
}
