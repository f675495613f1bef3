//go:build linux

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// warmup is the first part of a latency run, whose lines are not counted.
const warmup = 500 * time.Millisecond

// latencyRole listens and replies "listening" with its addresses. On "go ADDRESS..." it sends lines
// there, on each of its connections at the given rate and in turn, and replies "latency" with p50,
// p99 and p99.9 in microseconds when all of them have arrived.
//
// Senders and receivers block in system calls on threads of their own, so that only the kernel's
// scheduler affects the result.
func latencyRole(o Options, in *bufio.Scanner, reply Reply) error {
	s := &latencyProbe{line: o.size, begin: time.Now(),
		delays: make(chan []time.Duration, 1024), failed: make(chan error, 16)}
	var addrs []string
	for range o.ports {
		ln, err := Listen(AnyPort)
		if err != nil {
			return err
		}
		addrs = append(addrs, ln.Addr().String())
		go s.accept(ln)
	}
	reply("listening %s", strings.Join(addrs, " "))
	in.Scan()
	delays, err := s.run(strings.Fields(in.Text())[1:], o.conns, o.rate, o.count)
	if err != nil {
		return err
	}
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

// latencyProbe sends lines that carry the time of sending, and receives them. Its goroutines end
// with the process.
type latencyProbe struct {
	line   int // bytes
	begin  time.Time
	delays chan []time.Duration
	failed chan error
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

// run sends lines on each of n connections and returns the delays of all of them but those of the
// warm-up. The connections take turns at even distances.
func (s *latencyProbe) run(to []string, n, rate, lines int) ([]time.Duration, error) {
	conns, err := connect(to, n, nil)
	if err != nil {
		return nil, err
	}
	tick, err := newPacer(rate)
	if err != nil {
		return nil, err
	}
	for i, c := range conns {
		go func() {
			if err := s.send(c.(*net.TCPConn), tick.shifted(i, n), lines); err != nil {
				s.failed <- err
			}
		}()
	}
	skip := n * int(warmup.Seconds()*float64(rate))
	var all []time.Duration
	for seen := 0; seen < n*lines; {
		select {
		case err := <-s.failed:
			return nil, err
		case some := <-s.delays:
			for _, d := range some {
				if seen++; seen > skip {
					all = append(all, d)
				}
			}
		}
	}
	return all, nil
}

// send writes one line at each tick.
func (s *latencyProbe) send(c *net.TCPConn, tick pacer, lines int) error {
	runtime.LockOSThread()
	fd, err := blocking(c)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	line := stampedLine(s.line)
	var head []byte
	for n := range lines {
		tick.await(n)
		head = fmt.Appendf(head[:0], stampFormat, time.Since(s.begin))
		copy(line, head)
		if err := writeAll(fd, line); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func (s *latencyProbe) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := s.receive(c.(*net.TCPConn)); err != nil {
				s.failed <- err
			}
		}()
	}
}

func (s *latencyProbe) receive(c *net.TCPConn) error {
	runtime.LockOSThread()
	fd, err := blocking(c)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	have := 0
	for {
		n, err := unix.Read(fd, buf[have:])
		now := time.Since(s.begin)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil // the proxy ends, or only tested whether the target is there
		}
		have += n
		var some []time.Duration
		for ; have >= s.line; have = copy(buf, buf[s.line:have]) {
			sent, err := stamp(buf[:s.line])
			if err != nil {
				return err
			}
			some = append(some, now-sent)
		}
		s.delays <- some
	}
}

// stamp returns the time of sending.
func stamp(line []byte) (time.Duration, error) {
	if line[len(line)-1] != '\n' || line[0] != '{' {
		return 0, fmt.Errorf("part of a line arrived: %.80q", line)
	}
	ns, err := strconv.ParseInt(string(line[stampAt:stampAt+19]), 10, 64)
	return time.Duration(ns), err
}
