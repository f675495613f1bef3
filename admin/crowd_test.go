package admin

import (
	"bufio"
	"net"
	"net/http"
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
	step := func(i int, state http.ConnState, want net.Conn) {
		t.Helper()
		now = now.Add(time.Second)
		if got := c.update(conns[i], state, now); got != want {
			t.Errorf("%d %v: %p, want %p", i, state, got, want)
		}
		if len(c.conns) > 2 {
			t.Errorf("%d connections", len(c.conns))
		}
	}
	step(0, http.StateNew, nil)
	step(0, http.StateActive, nil)
	step(1, http.StateNew, nil)
	step(2, http.StateNew, conns[1]) // it has not said a word
	step(2, http.StateClosed, nil)
	step(1, http.StateClosed, nil)
	step(1, http.StateNew, nil)
	step(1, http.StateActive, nil)
	step(2, http.StateNew, conns[2]) // nobody is silent
	step(2, http.StateClosed, nil)
	step(1, http.StateIdle, nil)
	step(0, http.StateIdle, nil)
	step(3, http.StateNew, conns[1]) // the longest
	step(1, http.StateIdle, nil)     // comes too late
	step(0, http.StateActive, nil)
	step(3, http.StateActive, nil)
	step(4, http.StateNew, conns[4])
	step(0, http.StateClosed, nil)
	step(5, http.StateNew, nil)
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
	defer func() {
		for _, conn := range held {
			conn.Close()
		}
	}()
	for range 3 * maxConns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
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
	ended := 0
	for _, conn := range held {
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if ended == 2*maxConns {
			break
		}
		buffer := make([]byte, 1024)
		for {
			if _, err := conn.Read(buffer); err != nil {
				if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
					ended++
				}
				break
			}
		}
	}
	if ended < 2*maxConns {
		t.Errorf("%d connections are held", len(held)-ended)
	}
}
