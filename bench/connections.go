//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	messageSize = 100 // bytes each way
	callsWarm   = 500 // connections that come first and are not counted
)

// callsAtOnce is how many connections a caller has open at a time.
const callsAtOnce = 32

func (b *bench) connectionsTime() float64 {
	return float64(b.Reps*len(b.forwarders())) * (0.3 + float64(b.size.calls)/9000)
}

func (b *bench) connections(ctx context.Context) ([]section, error) {
	t, trials := oneTable(b.forwarders(), "connections/s", "CPU s per 10,000")
	err := b.turns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		n := b.callsOf(t.name)
		seconds, cpu, err := b.connectionsRun(ctx, t.setup, n)
		if err != nil {
			return "", err
		}
		t.add(float64(n)/seconds, cpu/float64(n)*1e4)
		return fmt.Sprintf("%6.0f/s  %.3f CPU s per 10,000", float64(n)/seconds, cpu/float64(n)*1e4), nil
	})
	t.hide(direct, 1)
	addRatios(t, relaying)
	return []section{{
		title: "Connection mode: connections",
		about: fmt.Sprintf("%d connections per run (socat: %d) to two targets, %d at a time: connect, %d bytes there, the same %d back, close.",
			b.size.calls, b.callsOf(socat), callsAtOnce, messageSize, messageSize),
		table: t,
		figures: []figure{
			bars(t, "connections", "Connection mode: short connections", "connections/s", "connections/s"),
			dots(t, "connections-cpu", "Connection mode: processor time", "CPU s per 10,000 connections", "CPU s per 10,000"),
		},
	}}, err
}

// callsOf is how many connections a contender is given: socat forks for each.
func (b *bench) callsOf(name string) int {
	if name == socat {
		return b.size.calls / 10
	}
	return b.size.calls
}

// connectionsRun returns how long the connections took, and the processor time of the proxy until the targets had seen all of them end.
func (b *bench) connectionsRun(ctx context.Context, s setup, n int) (seconds, cpu float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	st, err := b.raise(ctx, s, "echo")
	if err != nil {
		return 0, 0, err
	}
	defer st.stop()
	caller, err := spawn(ctx, "call", "-to", strings.Join(st.to, ","), "-size", strconv.Itoa(messageSize))
	if err != nil {
		return 0, 0, err
	}
	defer caller.stop()
	if _, err := call(caller, st.target, callsWarm, callsWarm); err != nil {
		return 0, 0, err
	}
	before, err := st.proxy.cpu()
	if err != nil {
		return 0, 0, err
	}
	if seconds, err = call(caller, st.target, n, callsWarm+n); err != nil {
		return 0, 0, err
	}
	after, err := st.proxy.cpu()
	if err != nil {
		return 0, 0, err
	}
	return seconds, after - before, st.proxy.stop()
}

// call opens n connections and returns how long they took, once the target has seen so many end in all.
func call(caller, target *child, n, ended int) (seconds float64, err error) {
	fields, err := caller.ask(fmt.Sprintf("call %d", n), "called")
	if err != nil {
		return 0, err
	}
	if _, err := target.ask(fmt.Sprintf("await %d", ended), "ended"); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.Join(fields, " "), 64)
}

// callRole, on "call N", opens N connections, some at a time, sends a message on each and takes it back, and says "called" with the
// seconds that this took. One thread does it all, since it should cost little.
func callRole(o roleOptions, in *bufio.Scanner, say func(string, ...any)) error {
	runtime.LockOSThread()
	c := &caller{message: compose(1, 1000)[:o.size], reply: make([]byte, o.size)}
	for _, to := range o.to {
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
	events := make([]unix.EpollEvent, callsAtOnce)
	left := n
	for range min(n, callsAtOnce) {
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
