package relppeer

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/relp"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

// Server takes lines, counts them in a tally, and responds to each. Its methods are safe for
// concurrent use, except for Listen and Stop.
type Server struct {
	tally *tally.Tally
	addr  string
	ln    net.Listener
	bytes atomic.Uint64

	serving sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	conns  map[net.Conn]bool
	ended  bool       // no connection is served
	faults *rand.Rand // nil: it responds to all frames
	lost   uint64     // responses that were not sent for lines that are counted
}

// StartServer starts a server with an address of its own. The caller calls Stop.
func StartServer(t *tally.Tally) (*Server, error) {
	s := &Server{tally: t, addr: net.JoinHostPort(sink.FreshHost(), "0"), conns: map[net.Conn]bool{}}
	if err := s.Listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// Target returns the address of the server, as -target takes it.
func (s *Server) Target() string { return "relp://" + s.addr }

// Listen starts a server that was stopped where it was.
func (s *Server) Listen() error {
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.addr, s.ln = ln.Addr().String(), ln
	s.mu.Lock()
	s.ended = false
	s.mu.Unlock()
	s.serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.serve(conn) })
		}
	})
	return nil
}

// Stop ends the server and all its connections at once, also between a line and its response.
func (s *Server) Stop() {
	s.ln.Close()
	s.mu.Lock()
	s.ended = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// Bytes returns how many bytes of lines it has read.
func (s *Server) Bytes() uint64 { return s.bytes.Load() }

// Lost returns how many responses were not sent for lines that it has counted.
func (s *Server) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Fail makes the server fail at random, in all ways that it knows, from now on. A seed of 0 ends
// that.
func (s *Server) Fail(seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	if seed != 0 {
		s.faults = rand.New(rand.NewPCG(seed, 1))
	}
}

// fault is a way to fail.
type fault int

const (
	faultNone     fault = iota
	faultCut            // the connection ends before the line is counted
	faultLost           // it ends once the line is
	faultLate           // the response comes later
	faultNonsense       // no RELP
	faultClose          // the server ends the session
	faultCount
)

// each is the number of lines for one fault, on average.
const each = 400

func (s *Server) fault() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil || s.faults.IntN(each) > 0 {
		return faultNone
	}
	return fault(1 + s.faults.IntN(int(faultCount)-1))
}

// admit notes a connection, and reports whether it is to be served.
func (s *Server) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	if !s.admit(conn) {
		return
	}
	reader := s.tally.Reader()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
		reader.End(false)
	}()
	buffered := bufio.NewReader(conn)
	in := relp.NewReader(buffered, maxData)
	var line, out []byte
	for {
		f, err := in.Next()
		if err != nil {
			return
		}
		switch f.Command {
		case relp.Open:
			out = relp.AppendResponse(out, f.Number, relp.OK, "OK", relp.Offer{Commands: []string{relp.Syslog}}.Append(nil))
		case relp.Syslog:
			line = append(append(line[:0], f.Data...), '\n')
			s.bytes.Add(uint64(len(line)))
			next, on := s.take(line, reader, f.Number, out)
			if out = next; !on {
				conn.Write(out)
				return
			}
		case relp.Close:
			conn.Write(relp.Append(relp.Append(out, f.Number, relp.Respond, nil), 0, relp.ServerClose, nil))
			return
		}
		if buffered.Buffered() == 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// take counts a line, and appends the response to out. It reports whether the session goes on.
func (s *Server) take(line []byte, reader *tally.Reader, number uint32, out []byte) ([]byte, bool) {
	f := s.fault()
	if f == faultCut {
		return out, false
	}
	reader.Feed(line)
	switch f {
	case faultLost, faultNonsense, faultClose:
		s.mu.Lock()
		s.lost++
		s.mu.Unlock()
	case faultLate:
		time.Sleep(50 * time.Millisecond)
	}
	switch f {
	case faultLost:
		return out, false
	case faultNonsense:
		return fmt.Append(out, "what?\n"), false
	case faultClose:
		return relp.Append(out, 0, relp.ServerClose, nil), false
	}
	return relp.AppendResponse(out, number, relp.OK, "OK", nil), true
}
