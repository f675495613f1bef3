package simulate

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// readSize is also the longest line that a sink takes for one.
const readSize = 64 << 10

// sink is a target: it reads lines from any number of connections and hands them to a tally. It can be killed as a
// process can, and started again on its port. Its methods belong to one goroutine, except for the counters.
type sink struct {
	addr  string // as it listened first, and will again
	tally *tally

	lines, bytes atomic.Uint64 // whole records that this sink's application has read
	open         atomic.Int64  // connections

	running sync.WaitGroup // the accept loop and all readers

	mu    sync.Mutex // guards the fields below
	ln    net.Listener
	conns []*net.TCPConn
	dying bool // kill is at work and will close the connections
}

// listen starts the sink. The first time it takes a free port.
func (s *sink) listen() error {
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("start target: %w", err)
	}
	s.addr = ln.Addr().String()
	s.mu.Lock()
	s.ln, s.conns, s.dying = ln, nil, false
	s.mu.Unlock()
	s.running.Go(func() { s.accept(ln) })
	return nil
}

func (s *sink) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.admit(c.(*net.TCPConn))
	}
}

func (s *sink) admit(c *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dying {
		reset(c)
		return
	}
	s.conns = append(s.conns, c)
	s.open.Add(1)
	s.running.Go(func() {
		defer s.open.Add(-1)
		s.read(c)
	})
}

// read takes lines until the connection ends, and closes it unless kill will. What is left of a line then is torn, unless
// the sink was killed: its sender knows that the line did not get through.
func (s *sink) read(c *net.TCPConn) {
	buf := make([]byte, readSize)
	n := 0
	for {
		m, err := c.Read(buf[n:])
		n += m
		n = s.take(buf, n)
		if err != nil {
			s.ended(c, n)
			return
		}
	}
}

// take hands the whole lines in buf[:n] to the tally, moves the rest to the front and returns its length.
func (s *sink) take(buf []byte, n int) int {
	end := bytes.LastIndexByte(buf[:n], '\n') + 1
	if end == 0 && n == len(buf) {
		end = n // no record is that long: let the tally call it torn
	}
	if end > 0 {
		s.lines.Add(s.tally.add(buf[:end]))
		s.bytes.Add(uint64(end))
	}
	return copy(buf, buf[end:n])
}

func (s *sink) ended(c *net.TCPConn, rest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dying {
		return
	}
	if rest > 0 {
		s.tally.tear()
	}
	c.Close()
	s.conns = slices.DeleteFunc(s.conns, func(other *net.TCPConn) bool { return other == c })
}

// kill stops reading, lets data pile up for a while, and resets all connections: what a crash looks like to the peer. It
// returns when nothing of the sink is left, with the bytes that its kernel had acknowledged and nobody had read (0 where the
// system does not tell).
func (s *sink) kill(stall time.Duration) (unread int) {
	s.mu.Lock()
	s.dying = true
	for _, c := range s.conns {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()

	time.Sleep(stall)

	s.mu.Lock()
	s.ln.Close()
	for _, c := range s.conns {
		unread += unreadBytes(c)
		reset(c)
	}
	s.conns = nil
	s.mu.Unlock()
	s.running.Wait()
	return unread
}

// stop ends the sink in order: connections are read to their end, and cut off only after patience. A sink that is not running
// has nothing to stop.
func (s *sink) stop(patience time.Duration) {
	s.mu.Lock()
	s.ln.Close()
	s.mu.Unlock()
	cut := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.conns {
			c.SetReadDeadline(time.Unix(1, 0))
		}
	})
	defer cut.Stop()
	s.running.Wait()
}

// reset closes c with an RST, whatever is unread or unsent.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
