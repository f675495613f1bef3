package admin

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/tlsconf"
)

// conn is a connection from an address.
type conn struct {
	net.TCPConn
	from string
}

func (c *conn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.from), 1))
}

// crowded is a limiter under test.
type crowded struct {
	*testing.T
	*connLimiter
	now time.Time
}

func newCrowded(t *testing.T, max int) *crowded {
	return &crowded{t, newConnLimiter(max), time.Now()}
}

// enter adds a connection a second later, and checks which one had to give way.
func (c *crowded) enter(new, want net.Conn) {
	c.Helper()
	c.now = c.now.Add(time.Second)
	if got := c.add(new, c.now); got != want {
		c.Errorf("evicted %v, want %v", got, want)
	}
	if len(c.conns) > c.max {
		c.Errorf("%d connections", len(c.conns))
	}
}

// some returns n connections from one address.
func some(n int, from string) (all []net.Conn) {
	for range n {
		all = append(all, &conn{from: from})
	}
	return all
}

func TestConnLimiterEvictsLongestIdle(t *testing.T) {
	l, conns := newCrowded(t, 2), some(6, "10.0.0.1")
	l.enter(conns[0], nil)
	end0 := l.begin(conns[0])
	l.keep(conns[0], 1)
	l.enter(conns[1], nil)
	l.enter(conns[2], conns[1]) // it never sent a request
	l.remove(conns[2])
	l.enter(conns[1], nil)
	end1, endAgain1 := l.begin(conns[1]), l.begin(conns[1])
	l.keep(conns[1], 1)
	l.enter(conns[2], conns[2]) // all others keep their places
	l.keep(conns[1], -1)
	end1()
	endAgain1()
	l.keep(conns[0], -1)
	end0()
	l.enter(conns[3], conns[1]) // its response is the older one
	end1()                      // after its connection was closed
	l.remove(conns[0])
	l.enter(conns[4], nil)
	l.enter(conns[5], conns[3])
}

// A client that does not take its answer gives way first, then an idle one, then one that sends
// request upon request, and then the one that has been there longest.
func TestConnLimiterEvictsThoseThatDoNotReadFirst(t *testing.T) {
	l, conns := newCrowded(t, 4), some(9, "10.0.0.1")
	for _, conn := range conns[:4] {
		l.enter(conn, nil)
	}
	for _, conn := range conns[1:4] { // the first one is idle
		l.begin(conn)
	}
	l.keep(conns[1], 1)
	l.wait(conns[1], 100, l.now)
	l.enter(conns[4], conns[1])
	l.enter(conns[5], conns[0])
	for range maxRow {
		l.begin(conns[2])
	}
	l.enter(conns[6], conns[4])
	for _, conn := range conns[5:7] {
		l.begin(conn)
	}
	l.enter(conns[7], conns[2])
	l.begin(conns[7])
	l.keep(conns[3], 1)
	l.enter(conns[8], conns[5])
}

// A peer that holds more than half of all places gives way before others, whatever it does.
func TestConnLimiterEvictsFromTheGreedyFirst(t *testing.T) {
	l, greedy, others := newCrowded(t, 4), some(5, "2001:db8::1"), some(3, "10.0.0.1")
	greedy[3].(*conn).from = "2001:db8::ffff:1" // the same network
	l.enter(others[0], nil)
	for _, conn := range greedy[:3] {
		l.enter(conn, nil)
		l.begin(conn)
	}
	l.enter(greedy[3], greedy[0])
	l.enter(others[1], greedy[3]) // now none holds more than half
	l.enter(others[2], others[0])
}

// The bytes of answers that wait for their clients are limited, and those that wait longest go.
func TestUnreadBytesAreLimited(t *testing.T) {
	l, conns := newCrowded(t, 10), some(4, "10.0.0.1")
	for i, conn := range conns {
		l.enter(conn, nil)
		l.begin(conn)
		var want []net.Conn
		if i == 3 {
			want = conns[:2]
		}
		if got := l.wait(conn, maxUnread*int64(1+i)/7, l.now); !slices.Equal(got, want) {
			t.Errorf("write %d: evicted %v, want %v", i, got, want)
		}
	}
	for _, conn := range conns {
		l.remove(conn)
	}
	if l.unread != 0 {
		t.Errorf("%d bytes are still counted", l.unread)
	}
	l.enter(conns[0], nil)
	if got := l.wait(conns[0], 2*maxUnread, l.now); got != nil { // the only one
		t.Errorf("evicted %v", got)
	}
}

// Requests that keep their places leave some to probes and metrics.
func TestPlacesAreLeftForProbes(t *testing.T) {
	if kept := 2*maxRequests + maxStreams + maxKnownStreams + maxProfiles; kept > MaxConns*3/4 {
		t.Errorf("%d of %d places may be taken", kept, MaxConns)
	}
}

// Many clients that send their requests slowly do not lock out a probe.
func TestSlowRequestsDoNotLockOutProbes(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{})
	for range 3 * MaxConns {
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
	for range 3 * MaxConns {
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
	for range 3 * MaxConns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
		conn.SetDeadline(time.Now().Add(longReading))
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
	for end := time.Now().Add(longReading); ended.Load() < 2*MaxConns; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are still open", int64(len(held))-ended.Load())
		}
	}
}
