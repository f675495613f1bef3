//go:build linux

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// warmup is the first part of a latency run, whose lines are not counted.
const warmup = 500 * time.Millisecond

// latencyRole listens and replies "listening" with its addresses. On "go ADDRESS..." it sends lines
// there, on its connections in turn at even distances, and replies "latency" with p50, p99 and
// p99.9 in microseconds when all of them have arrived.
//
// One goroutine sends and one receives. Both make raw system calls, so that only the kernel's
// scheduler affects the result; otherwise this process took twice the processor time.
func latencyRole(o Options, in *bufio.Scanner, reply Reply) error {
	s := &latencyProbe{line: o.size, begin: time.Now(), listeners: map[int]bool{}, partial: map[int][]byte{},
		delays: make([]time.Duration, 0, o.conns*o.count)}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	var addrs []string
	for range o.ports {
		fd, addr, err := listenNonblocking(AnyPort)
		if err != nil {
			return err
		}
		if err := watch(s.epoll, fd); err != nil {
			return err
		}
		s.listeners[fd] = true
		addrs = append(addrs, addr)
	}
	reply("listening %s", strings.Join(addrs, " "))
	in.Scan()
	conns, err := connect(strings.Fields(in.Text())[1:], o.conns, nil)
	if err != nil {
		return err
	}
	if err := s.run(conns, o.rate, o.count); err != nil {
		return err
	}
	delays := s.delays[o.conns*int(warmup.Seconds()*float64(o.rate)):]
	slices.Sort(delays)
	reply("latency %.1f %.1f %.1f", micros(delays, 0.5), micros(delays, 0.99), micros(delays, 0.999))
	in.Scan()
	return nil
}

// micros returns a quantile of sorted delays in microseconds.
func micros(sorted []time.Duration, q float64) float64 {
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i]) / 1e3
}

// latencyProbe sends lines that carry the time of sending, and receives them. Its descriptors are
// closed when the process ends.
type latencyProbe struct {
	line      int // bytes
	begin     time.Time
	epoll     int
	listeners map[int]bool
	partial   map[int][]byte  // by connection: its buffer, which holds the begin of a line
	delays    []time.Duration // in the order of arrival; its capacity is the number of lines
}

// A line begins with the time of sending, in nanoseconds since begin, as 19 digits.
const (
	stampFormat = `{"sent":"%019d","note":"`
	stampAt     = len(`{"sent":"`)
)

// stampedLine returns a line of size bytes. send overwrites its time.
func stampedLine(size int) []byte {
	line := fmt.Appendf(nil, stampFormat, 0)
	line = append(line, bytes.Repeat([]byte{'x'}, size-len(line)-3)...)
	return append(line, "\"}\n"...)
}

// run sends lines on each connection, at a rate per second, and receives all of them.
func (s *latencyProbe) run(conns []net.Conn, rate, lines int) error {
	allowRaw(2)
	var fds []int
	for _, c := range conns {
		fd, err := blocking(c.(*net.TCPConn))
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	done := make(chan error, 3)
	go func() {
		if err := s.send(fds, rate*len(fds), lines*len(fds)); err != nil {
			done <- fmt.Errorf("send: %w", err)
		}
	}()
	go func() { done <- s.receive(func() { done <- nil }) }()
	return <-done
}

// send writes one line at each tick, on the connections in turn, and closes them: a proxy that is
// told to end waits for its senders.
func (s *latencyProbe) send(fds []int, rate, lines int) error {
	line := stampedLine(s.line)
	head := make([]byte, 0, len(line))
	tick, err := newPacer(rate)
	if err != nil {
		return err
	}
	for n := range lines {
		tick.await(n)
		head = fmt.Appendf(head[:0], stampFormat, time.Since(s.begin))
		copy(line, head)
		if err := writeAll(fds[n%len(fds)], line); err != nil {
			return err
		}
	}
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

// receive records the delays of all lines and calls complete when it has them. It goes on until the
// process ends: a proxy that ends waits until its connections are closed.
func (s *latencyProbe) receive(complete func()) error {
	events := make([]unix.EpollEvent, 64)
	for {
		if complete != nil && len(s.delays) == cap(s.delays) {
			complete()
			complete = nil
		}
		ready, err := rawWait(s.epoll, events)
		if err != nil {
			return err
		}
		for _, e := range ready {
			fd := int(e.Fd)
			if s.listeners[fd] {
				err = s.accept(fd)
			} else {
				err = s.read(fd)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (s *latencyProbe) accept(ln int) error {
	fd, ok, err := acceptOne(ln)
	if !ok {
		return err
	}
	s.partial[fd] = make([]byte, 0, 64<<10)
	return watch(s.epoll, fd)
}

// read takes what has arrived on a connection and records the delays of the lines that are
// complete.
func (s *latencyProbe) read(fd int) error {
	buf := s.partial[fd]
	n, err := rawRead(fd, buf[len(buf):cap(buf)])
	now := time.Since(s.begin)
	if err == unix.EINTR {
		return nil // epoll reports it again
	}
	if err != nil || n == 0 {
		return unix.Close(fd) // the proxy ends, or only tested whether the target is there
	}
	buf = buf[:len(buf)+n]
	rest := buf
	for ; len(rest) >= s.line && len(s.delays) < cap(s.delays); rest = rest[s.line:] {
		sent, err := stamp(rest[:s.line])
		if err != nil {
			return err
		}
		s.delays = append(s.delays, now-sent)
	}
	s.partial[fd] = buf[:copy(buf, rest)]
	return nil
}

// stamp returns the time of sending.
func stamp(line []byte) (time.Duration, error) {
	if line[len(line)-1] != '\n' || line[0] != '{' {
		return 0, fmt.Errorf("part of a line arrived: %.80q", line)
	}
	ns, err := strconv.ParseInt(string(line[stampAt:stampAt+19]), 10, 64)
	return time.Duration(ns), err
}
