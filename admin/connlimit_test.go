package admin

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/tlsconf"
)

func TestCrowd(t *testing.T) {
	c := newCrowd(2)
	now := time.Now()
	conns := make([]net.Conn, 6)
	for i := range conns {
		conns[i] = &net.TCPConn{}
	}
	enter := func(i int, want net.Conn) {
		t.Helper()
		now = now.Add(time.Second)
		if got := c.enter(conns[i], now); got != want {
			t.Errorf("%d came: %p goes, want %p", i, got, want)
		}
		if len(c.conns) > 2 {
			t.Errorf("%d connections", len(c.conns))
		}
	}
	enter(0, nil)
	answered0 := c.answering(conns[0])
	enter(1, nil)
	enter(2, conns[1]) // it has not asked for anything
	c.leave(conns[2])
	enter(1, nil)
	answered1, again1 := c.answering(conns[1]), c.answering(conns[1])
	enter(2, conns[2]) // all are being answered
	answered1()
	enter(2, conns[2])
	again1()
	answered0()
	enter(3, conns[1]) // its answer is the older one
	answered1()        // comes too late
	c.leave(conns[0])
	enter(4, nil)
	enter(5, conns[3])
}

// Nor must those that are slow to say what they want.
func TestManySlowRequests(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{})
	for range 3 * maxConns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: loc")); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.status(t, "GET", "/healthz"); got != 200 {
		t.Errorf("a probe: %d", got)
	}
}

// Nor must those that never ask for anything.
func TestManySilentConnections(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{})
	for range 3 * maxConns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if got := s.status(t, "GET", "/healthz"); got != 200 {
		t.Errorf("a probe: %d", got)
	}
}

// Any number of connections that are only held must not keep out a probe.
func TestManyConnections(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{})
	var held []net.Conn
	var reading sync.WaitGroup
	defer func() {
		for _, conn := range held {
			conn.Close()
		}
		reading.Wait()
	}()
	for range 3 * maxConns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", len(held), err)
		}
		r.Body.Close()
	}
	if got := s.status(t, "GET", "/healthz"); got != 200 {
		t.Errorf("a probe: %d", got)
	}
	var ended atomic.Int64
	for _, conn := range held {
		conn.SetDeadline(time.Time{})
		reading.Go(func() {
			io.Copy(io.Discard, conn)
			ended.Add(1)
		})
	}
	for end := time.Now().Add(30 * time.Second); ended.Load() < 2*maxConns; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are held", int64(len(held))-ended.Load())
		}
	}
}
