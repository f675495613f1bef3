//go:build linux

package testrig

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
)

// SenderOptions say what a sender writes, where to, and how fast.
type SenderOptions struct {
	ID      uint32
	Network string      // tcp, also if empty, or unix
	Addr    string      // host:port or the path of a socket
	TLS     *tls.Config // nil: plain
	Lines   int         // how many; 0: until Stop
	Rate    int         // lines per second; 0: as fast as the connection takes them
	Size    int         // bytes of a line with its newline; 0: 600
}

// Sender writes numbered records on one connection and closes it. It never reads, as log shippers
// do.
type Sender struct {
	id   uint32
	conn net.Conn // below TLS
	stop context.CancelFunc
	sent atomic.Uint64
	done chan struct{}
	err  error // valid once done is closed
}

// StartSender connects, starts to write and returns. The sender ends with the test at the latest.
func StartSender(tb testing.TB, o SenderOptions) *Sender {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sender{id: o.ID, stop: cancel, done: make(chan struct{})}
	connected := make(chan struct{})
	go func() {
		defer close(s.done)
		s.err = s.run(ctx, o, sync.OnceFunc(func() { close(connected) }))
	}()
	select {
	case <-connected:
	case <-s.done: // a short sender may have ended already
		select {
		case <-connected:
		default:
			cancel()
			tb.Fatalf("sender %d: %v", o.ID, s.err)
		}
	}
	tb.Cleanup(s.abandon)
	return s
}

// run connects, calls connected, and writes until all is sent or ctx ends.
func (s *Sender) run(ctx context.Context, o SenderOptions, connected func()) error {
	size := cmp.Or(o.Size, 600)
	to := send.Dial{Network: cmp.Or(o.Network, "tcp"), Address: o.Addr, TLS: o.TLS, Connect: s.connect}
	summary, err := send.Run(ctx, send.Options{
		To:          []send.Dial{to},
		Lines:       uint64(o.Lines),
		Rate:        float64(o.Rate),
		Length:      record.Length{Min: size, Max: size},
		FirstSender: o.ID,
		WriteOnly:   true,
		Interval:    10 * time.Millisecond,
		DialTimeout: dialTimeout,
		Grace:       Patience,
	}, func(p send.Progress) {
		s.sent.Store(p.Lines)
		connected()
	})
	if err != nil {
		return err
	}
	s.sent.Store(summary.Lines)
	for _, count := range summary.Clients {
		for reason := range count.Reasons {
			return fmt.Errorf("sender %d after %d lines: %s", o.ID, summary.Lines, reason)
		}
	}
	return nil
}

func (s *Sender) connect(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	s.conn, err = new(net.Dialer).DialContext(ctx, network, addr)
	return s.conn, err
}

// Stop lets the sender complete the write it is in and close its connection, and returns when it
// has. It returns the error that ended the sender early, if any.
func (s *Sender) Stop() error {
	s.stop()
	return s.Wait()
}

// Wait returns when the sender has written all its lines and closed. It returns what Stop returns.
func (s *Sender) Wait() error {
	<-s.done
	return s.err
}

// ID returns the number that the sender's lines carry.
func (s *Sender) ID() uint32 { return s.id }

// Sent returns how many lines have been written whole. While the sender writes, it lags behind.
func (s *Sender) Sent() int { return int(s.sent.Load()) }

// abandon ends the sender in any state: a failed test may have left it blocked in a write.
func (s *Sender) abandon() {
	s.stop()
	s.conn.Close()
	<-s.done
}

// dialTimeout limits one attempt to connect, TLS handshake included.
const dialTimeout = 10 * time.Second

// Dial connects to a listener, with TLS if a configuration is given. When it returns, the
// handshake is done.
func Dial(network, addr string, config *tls.Config) (net.Conn, error) {
	conn, err := net.DialTimeout(cmp.Or(network, "tcp"), addr, dialTimeout)
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
