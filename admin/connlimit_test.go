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

func TestConnLimiterEvictsLongestIdle(t *testing.T) {
	l := newConnLimiter(2)
	now := time.Now()
	conns := make([]net.Conn, 6)
	for i := range conns {
		conns[i] = &net.TCPConn{}
	}
	add := func(i int, want net.Conn) {
		t.Helper()
		now = now.Add(time.Second)
		if got := l.add(conns[i], now); got != want {
			t.Errorf("add %d: evicted %p, want %p", i, got, want)
		}
		if len(l.conns) > 2 {
			t.Errorf("%d connections", len(l.conns))
		}
	}
	add(0, nil)
	end0 := l.begin(conns[0])
	add(1, nil)
	add(2, conns[1]) // it never sent a request
	l.remove(conns[2])
	add(1, nil)
	end1, endAgain1 := l.begin(conns[1]), l.begin(conns[1])
	add(2, conns[2]) // all are being answered
	end1()
	add(2, conns[2])
	endAgain1()
	end0()
	add(3, conns[1]) // its response is the older one
	end1()           // after its connection was closed
	l.remove(conns[0])
	add(4, nil)
	add(5, conns[3])
}

// Many clients that send their requests slowly do not lock out a probe.
func TestSlowRequestsDoNotLockOutProbes(t *testing.T) {
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
		t.Errorf("probe: status %d", got)
	}
}

// Many clients that never send a request do not lock out a probe.
func TestSilentConnectionsDoNotLockOutProbes(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{})
	for range 3 * maxConns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if got := s.status(t, "GET", "/healthz"); got != 200 {
		t.Errorf("probe: status %d", got)
	}
}

// Many clients that keep their connections after a response do not lock out a probe.
func TestIdleConnectionsDoNotLockOutProbes(t *testing.T) {
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
		t.Errorf("probe: status %d", got)
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
			t.Fatalf("%d connections are still open", int64(len(held))-ended.Load())
		}
	}
}
