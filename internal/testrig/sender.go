//go:build linux

package testrig

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// SenderOptions say what a sender writes and how.
type SenderOptions struct {
	ID      int
	Network string      // tcp, which is also the zero value's meaning, or unix
	Addr    string      // host:port or socket path
	TLS     *tls.Config // nil: plain
	Lines   int         // how many; 0: until Stop
	Rate    int         // lines per second; 0: as fast as the connection takes them
	Size    int         // bytes of a line with its newline; 0: 600
}

// Sender writes numbered lines on one connection and closes it. It never reads,
// as log shippers do.
type Sender struct {
	o    SenderOptions
	conn net.Conn
	stop chan struct{}
	once sync.Once
	done chan struct{}
	sent atomic.Int64
	err  error // valid once done is closed
}

// writeSize is the most that one write holds.
const writeSize = 64 << 10

// maxLag is how far a paced sender may fall behind before it gives up catching
// up: being held back for a second must not be followed by a second of flood.
const maxLag = 200 * time.Millisecond

// StartSender connects and starts to write. The test's end stops it at the latest.
func StartSender(tb testing.TB, o SenderOptions) *Sender {
	tb.Helper()
	if o.Size == 0 {
		o.Size = 600
	}
	conn, err := Dial(o.Network, o.Addr, o.TLS)
	if err != nil {
		tb.Fatalf("sender %d: %v", o.ID, err)
	}
	s := &Sender{o: o, conn: conn, stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	tb.Cleanup(s.abandon)
	return s
}

// Dial connects to a listener, with TLS if a configuration is given; the
// handshake is done when it returns.
func Dial(network, addr string, config *tls.Config) (net.Conn, error) {
	if network == "" {
		network = "tcp"
	}
	conn, err := net.DialTimeout(network, addr, 10*time.Second)
	if err != nil || config == nil {
		return conn, err
	}
	client := tls.Client(conn, config)
	if err := client.Handshake(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	return client, nil
}

// Stop lets the sender finish the write it is in, close its connection and
// returns when it has. The error is the one that ended it early, if any.
func (s *Sender) Stop() error {
	s.once.Do(func() { close(s.stop) })
	<-s.done
	return s.err
}

// Wait returns when the sender has written all its lines and closed.
func (s *Sender) Wait() error {
	<-s.done
	return s.err
}

// ID is the number that the sender's lines carry.
func (s *Sender) ID() int { return s.o.ID }

// Sent is how many lines have been written whole.
func (s *Sender) Sent() int { return int(s.sent.Load()) }

// abandon ends a sender whatever state it is in: a failed test may have left it
// blocked in a write.
func (s *Sender) abandon() {
	s.once.Do(func() { close(s.stop) })
	s.conn.SetDeadline(time.Now())
	<-s.done
}

func (s *Sender) run() {
	defer close(s.done)
	s.err = s.write()
	if err := s.conn.Close(); s.err == nil {
		s.err = err
	}
	if s.err != nil {
		s.err = fmt.Errorf("sender %d after %d lines: %w", s.o.ID, s.Sent(), s.err)
	}
}

func (s *Sender) write() error {
	p := pace{start: time.Now(), rate: s.o.Rate}
	var buf []byte
	for next := 0; s.o.Lines == 0 || next < s.o.Lines; {
		n := min(p.due(next), max(1, writeSize/s.o.Size))
		if s.o.Lines > 0 {
			n = min(n, s.o.Lines-next)
		}
		buf = buf[:0]
		for range n {
			buf = AppendLine(buf, s.o.ID, next, s.o.Size)
			next++
		}
		if n > 0 {
			if _, err := s.conn.Write(buf); err != nil {
				return err
			}
			s.sent.Store(int64(next))
		}
		select {
		case <-s.stop:
			return nil
		default:
		}
		if n == 0 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}

// pace says how many lines are due at a rate.
type pace struct {
	start time.Time
	rate  int
}

func (p *pace) due(sent int) int {
	if p.rate == 0 {
		return 1 << 30
	}
	at := func(lines int) time.Duration {
		return time.Duration(float64(lines) / float64(p.rate) * float64(time.Second))
	}
	if lag := time.Since(p.start) - at(sent); lag > maxLag {
		p.start = p.start.Add(lag - maxLag)
	}
	return max(0, int(time.Since(p.start).Seconds()*float64(p.rate))-sent)
}
