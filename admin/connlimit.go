package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConns limits the open connections of the admin listener.
const maxConns = 128

// connLimiter limits the connections of a server. At the limit, a new connection evicts the one
// idle longest, counted from its last response or from its opening; while all are being answered,
// the new one is closed. So clients that only hold connections, or send their requests slowly,
// cannot lock out a health probe: an orchestrator would kill the process for that, with all lines
// in it.
type connLimiter struct {
	max int

	mu    sync.Mutex           // protects the field below
	conns map[net.Conn]*client // the open connections
}

// client is the state of one connection.
type client struct {
	requests int       // being answered
	since    time.Time // of the last response, or of the opening
}

func newConnLimiter(max int) *connLimiter {
	return &connLimiter{max: max, conns: map[net.Conn]*client{}}
}

// connState implements http.Server.ConnState.
func (l *connLimiter) connState(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if evicted := l.add(conn, time.Now()); evicted != nil {
			closeNow(evicted)
		}
	case http.StateClosed, http.StateHijacked:
		l.remove(conn)
	}
}

// add returns the connection that the caller must close for the new one, which may be conn
// itself, or nil.
func (l *connLimiter) add(conn net.Conn, now time.Time) (evicted net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.max {
		evicted = l.longestIdleLocked(conn)
		delete(l.conns, evicted)
	}
	if evicted != conn {
		l.conns[conn] = &client{since: now}
	}
	return evicted
}

func (l *connLimiter) remove(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

// longestIdleLocked returns the connection idle longest, or fallback if none is idle.
func (l *connLimiter) longestIdleLocked(fallback net.Conn) net.Conn {
	longest, since := fallback, time.Time{}
	for conn, c := range l.conns {
		if c.requests == 0 && (since.IsZero() || c.since.Before(since)) {
			longest, since = conn, c.since
		}
	}
	return longest
}

// begin counts a request whose headers were read, until the caller calls end.
func (l *connLimiter) begin(conn net.Conn) (end func()) {
	l.count(conn, 1)
	return func() { l.count(conn, -1) }
}

func (l *connLimiter) count(conn net.Conn, requests int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.conns[conn]; c != nil { // nil if it was closed meanwhile
		c.requests += requests
		c.since = time.Now()
	}
}

type connKey struct{}

// connContext implements http.Server.ConnContext: it hands conn to countRequests.
func (l *connLimiter) connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// countRequests wraps the handler of all requests.
func (l *connLimiter) countRequests(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(connKey{}).(net.Conn)
		defer l.begin(conn)()
		handler.ServeHTTP(w, r)
	})
}

// closeNow closes conn without TLS's close_notify, which might wait for the peer.
func closeNow(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	conn.Close()
}
