//go:build linux

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MaxCalls is the number of connections that a caller has open at a time.
const MaxCalls = 32

// Call lets a caller open n connections and returns how long they took, in seconds. It waits until
// the target has seen the end of ended connections in all.
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

// callRole opens N connections on "call N", at most MaxCalls at a time, sends a message on each and
// waits until it comes back. It replies "called" with the seconds that this took. To cost little,
// one goroutine does all of it with raw calls.
func callRole(o Options, in *bufio.Scanner, reply Reply) error {
	allowRaw(1)
	c := &caller{message: makeLines(1, 1000)[:o.size], reply: make([]byte, o.size)}
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
		reply("called %f", time.Since(begin).Seconds())
	}
	return nil
}

// caller opens connections and waits for several of them at a time.
type caller struct {
	to             []unix.Sockaddr
	message, reply []byte
	epoll          int
	opened         int // connections so far; chooses the next address
}

func (c *caller) call(n int) error {
	events := make([]unix.EpollEvent, MaxCalls)
	left := n
	for range min(n, MaxCalls) {
		left--
		if err := c.open(); err != nil {
			return err
		}
	}
	for done := 0; done < n; {
		ready, err := rawWait(c.epoll, events)
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

// open connects and sends the message. On the loopback neither step blocks: the kernel accepts the
// connection, and the message fits into its buffer.
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

// finish reads the reply and closes the connection.
func (c *caller) finish(fd int) error {
	if err := readAll(fd, c.reply); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(c.reply, c.message) {
		return fmt.Errorf("%q came back as %q", c.message, c.reply)
	}
	return unix.Close(fd)
}
