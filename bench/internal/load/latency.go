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

// warmup is how much of a latency run is not counted.
const warmup = 500 * time.Millisecond

// latencyRole listens on two addresses, says "listening" with them, on "go ADDRESS" sends lines there, and says "latency" with p50, p99 and
// p99.9 in microseconds when all have come in.
//
// Sender and receivers block in system calls on threads of their own: no scheduler but the kernel's is in what they measure.
func latencyRole(o Options, in *bufio.Scanner, say func(string, ...any)) error {
	s := &stopwatch{line: o.size, begin: time.Now(), delays: make(chan []time.Duration, 1024), failed: make(chan error, 16)}
	var addrs []string
	for range o.ports {
		ln, err := Listen(AnyPort)
		if err != nil {
			return err
		}
		addrs = append(addrs, ln.Addr().String())
		go s.accept(ln)
	}
	say("listening %s", strings.Join(addrs, " "))
	in.Scan()
	delays, err := s.run(strings.TrimPrefix(in.Text(), "go "), o.rate, o.count)
	if err != nil {
		return err
	}
	slices.Sort(delays)
	say("latency %.1f %.1f %.1f", micros(delays, 0.5), micros(delays, 0.99), micros(delays, 0.999))
	in.Scan()
	return nil
}

// micros returns a quantile of sorted delays in microseconds.
func micros(sorted []time.Duration, q float64) float64 {
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i]) / 1e3
}

// stopwatch sends lines that say when they were sent. Its goroutines end with the process.
type stopwatch struct {
	line   int
	begin  time.Time
	delays chan []time.Duration
	failed chan error
}

// A line begins with the time when it was sent, in nanoseconds and 19 digits.
const (
	stampFormat = `{"sent":"%019d","note":"`
	stampAt     = len(`{"sent":"`)
)

// stampedLine returns a line of so many bytes whose stamp is still to be written.
func stampedLine(size int) []byte {
	line := fmt.Appendf(nil, stampFormat, 0)
	line = append(line, bytes.Repeat([]byte{'x'}, size-len(line)-3)...)
	return append(line, "\"}\n"...)
}

// run sends and returns the delays of all lines but those of the warm-up.
func (s *stopwatch) run(to string, rate, lines int) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := s.send(conn.(*net.TCPConn), rate, lines); err != nil {
			s.failed <- err
		}
	}()
	skip := int(warmup.Seconds() * float64(rate))
	var all []time.Duration
	for seen := 0; seen < lines; {
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

// send writes one line at a time.
func (s *stopwatch) send(c *net.TCPConn, rate, lines int) error {
	runtime.LockOSThread()
	fd, err := blocking(c)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	line := stampedLine(s.line)
	var head []byte
	beat, err := newMetronome(rate)
	if err != nil {
		return err
	}
	for n := range lines {
		beat.await(n)
		head = fmt.Appendf(head[:0], stampFormat, time.Since(s.begin))
		copy(line, head)
		if err := writeAll(fd, line); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func (s *stopwatch) accept(ln net.Listener) {
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

func (s *stopwatch) receive(c *net.TCPConn) error {
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
			return nil // the proxy goes down, or was only tried
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

func stamp(line []byte) (time.Duration, error) {
	if line[len(line)-1] != '\n' || line[0] != '{' {
		return 0, fmt.Errorf("a line arrived torn: %.80q", line)
	}
	ns, err := strconv.ParseInt(string(line[stampAt:stampAt+19]), 10, 64)
	return time.Duration(ns), err
}
