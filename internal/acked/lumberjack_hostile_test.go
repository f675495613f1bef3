package acked

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

// A server that breaks the protocol or goes away fails the connection, and nothing counts as
// delivered that it has not acknowledged.
func TestLumberjackHostileServers(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(p *lumberPeer) error
		want  string
		acked int // lines
	}{
		"acknowledges more than was sent": {say("2A\x00\x00\x00\x0b"), "acknowledges line 11 of a window of 10", 0},
		"acknowledges in version 1":       {say("1A\x00\x00\x00\x0a"), "version 1", 0},
		"speaks HTTP":                     {say("HTTP/1.1 400 Bad Request\r\n\r\n"), "an HTTP server is there", 0},
		"speaks TLS":                      {say("\x15\x03\x03\x00\x02\x02\x46"), "it speaks TLS", 0},
		"says two letters":                {say("no"), `"no"`, 0},
		"closes at once":                  {say(""), "closed the connection with 0 of 10", 0},
		"closes after a keepalive":        {say("2A\x00\x00\x00\x00"), "closed the connection with 0 of 10", 0},
		"closes after a part":             {say("2A\x00\x00\x00\x09"), "closed the connection with 9 of 10", 9},
		"closes within a frame":           {say("2A\x00\x00\x00\x092A\x00\x00\x00"), "closed the connection with 9 of 10", 9},
	} {
		t.Run(name, func(t *testing.T) {
			host := serveLumber(t, nil, func(p *lumberPeer) error {
				if _, err := p.window(); err != nil {
					return err
				}
				return c.serve(p)
			})
			a := address(t, "lumberjack://"+host)
			conn := dialLumber(t, a, &Options{})
			b, _ := mixed(10)
			write(t, conn, b, false)
			p := waitFor(t, conn, failed)
			if !strings.Contains(p.Err.Error(), c.want) || !strings.Contains(p.Err.Error(), a.String()) || bytes.Count(b.B[:p.Acked], newline) != c.acked {
				t.Errorf("%v with %d bytes acknowledged, want %s", p.Err, p.Acked, c.want)
			}
		})
	}
}

func say(text string) func(p *lumberPeer) error {
	return func(p *lumberPeer) error {
		_, err := p.Write([]byte(text))
		return err
	}
}

// A server that closes the connection with a window half read fails it, also while the window is
// still written.
func TestLumberjackResetWhileWriting(t *testing.T) {
	host := serveLumber(t, nil, func(p *lumberPeer) error {
		_, err := io.CopyN(io.Discard, p.in, 1<<20)
		p.Conn.(*net.TCPConn).SetLinger(0)
		return err
	})
	c := dialLumber(t, address(t, "lumberjack://"+host+"?batch-bytes=64MiB"), &Options{})
	b := buffer(strings.Repeat("x", 32<<20))
	c.Announce(b, len(b.B), false)
	c.Write(b.B, func() error { return nil })
	if p := waitFor(t, c, failed); isTimeout(p.Err) || p.Acked != 0 {
		t.Errorf("%v with %d bytes acknowledged", p.Err, p.Acked)
	}
}

// The end of a connection ends a Send at once, whatever it waits for.
func TestLumberjackAbort(t *testing.T) {
	for name, size := range map[string]int{"reading": 1, "writing": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			reached, done := make(chan struct{}), make(chan struct{})
			host := serveLumber(t, nil, func(p *lumberPeer) error {
				p.in.ReadByte()
				close(reached)
				<-done
				return nil
			})
			defer close(done)
			a := address(t, "lumberjack://"+host+"?batch-bytes=64MiB&timeout=10m")
			conn, err := target.Dial(t.Context(), a, &target.Options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			s := newLumberjackSender(a, conn, nil)
			defer s.Close()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-reached
				cancel()
			}()
			if _, err := s.Send(ctx, part(strings.Repeat("x", size))); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// pipeSender returns a sender over a connection in memory, and the server's ends of that and of the
// connections that it makes later.
func pipeSender(t *testing.T, options string) (*lumberjackSender, <-chan *lumberPeer) {
	peers := make(chan *lumberPeer, 10)
	dial := func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		peers <- newLumberPeer(server)
		return client, nil
	}
	conn, _ := dial(t.Context())
	s := newLumberjackSender(address(t, "lumberjack://192.0.2.1:5044"+options), conn, dial)
	t.Cleanup(s.Close)
	return s, peers
}

// The timeout begins again with each acknowledgement, also with one that says nothing new, and also
// while the server reads nothing.
func TestLumberjackTimeout(t *testing.T) {
	for name, reads := range map[string]bool{"reads": true, "does not read": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, peers := pipeSender(t, "?timeout=30s")
				p := <-peers
				go func() {
					if reads {
						p.window()
					}
					for range 10 {
						time.Sleep(29 * time.Second)
						p.ack(0)
					}
				}()
				began := time.Now()
				_, err := s.Send(t.Context(), part("x"))
				if took := time.Since(began); took != 320*time.Second || !errors.Is(err, errTimeout) {
					t.Errorf("%v after %v", err, took)
				}
				if err != nil && !strings.Contains(err.Error(), "timeout=30s") {
					t.Error(err)
				}
			})
		})
	}
}

// An acknowledgement of lines that the server has not read yet proves nothing.
func TestLumberjackAckBeforeTheWindowIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peers := pipeSender(t, "")
		p := <-peers
		go p.ack(1)
		if _, err := s.Send(t.Context(), part("x")); err == nil {
			t.Error("a line counts as delivered that the server has not read")
		}
	})
}

// The server closes the connection while no line is on its way, as Logstash does after a minute.
// The next lines go over another connection, and nothing has failed.
func TestLumberjackServerClosesIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peers := pipeSender(t, "")
		for range 3 {
			go func() {
				p := <-peers
				if _, err := p.window(); err != nil {
					t.Error(err)
				}
				p.ack(1)
				time.Sleep(time.Minute)
				p.Close()
			}()
			if refused, err := s.Send(t.Context(), part("x")); refused != nil || err != nil {
				t.Error(refused, err)
			}
			time.Sleep(time.Hour)
		}
	})
}

// The connection of a dial may be closed before there is a line.
func TestLumberjackServerClosesUnusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peers := pipeSender(t, "")
		(<-peers).Close()
		synctest.Wait()
		go func() {
			p := <-peers
			p.window()
			p.ack(1)
		}()
		if _, err := s.Send(t.Context(), part("x")); err != nil {
			t.Error(err)
		}
	})
}

// What a server says while no line is on its way is no acknowledgement of the next window.
func TestLumberjackAcknowledgesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peers := pipeSender(t, "")
		p := <-peers
		go func() {
			p.window()
			for range 5 {
				p.ack(1)
				time.Sleep(time.Second)
			}
			p.window()
			p.Close()
		}()
		if _, err := s.Send(t.Context(), part("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := s.Send(t.Context(), part("x")); err == nil {
			t.Error("a line counts as delivered that the server has not acknowledged")
		}
	})
}

// A context that ends just before the time is extended ends a Send at once, too.
func TestLumberjackContextEndsBeforeExtension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pipeSender(t, "")
		ctx, cancel := context.WithCancel(t.Context())
		s.conn = &lateConn{s.conn, cancel}
		began := time.Now()
		_, err := s.Send(ctx, part("x"))
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took != 0 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// lateConn ends a context before it sets a deadline that has not passed, so that the interruption
// comes first.
type lateConn struct {
	net.Conn
	cancel func()
}

func (c *lateConn) SetDeadline(at time.Time) error {
	if !at.IsZero() && !at.Equal(past) {
		c.cancel()
		synctest.Wait() // until the interruption has returned
	}
	return c.Conn.SetDeadline(at)
}
