package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConns is how many connections the admin listener has at one time.
const maxConns = 128

// crowd bounds the connections of a server. Where one too many comes, the one goes whose last answer, or beginning, is the longest ago; if
// all are being answered, the newcomer. So clients that only hold their connections, or are slow to say what they want, do not keep out a
// probe: where a probe decides whether the process lives, it would end for that, with all lines in it.
type crowd struct {
	max int

	mu    sync.Mutex          // protects the field below
	conns map[net.Conn]*guest // those that are open
}

// guest is one connection.
type guest struct {
	requests int       // being answered
	since    time.Time // when the last answer was given, or it came
}

func newCrowd(max int) *crowd { return &crowd{max: max, conns: map[net.Conn]*guest{}} }

// track is for http.Server.ConnState.
func (c *crowd) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if superfluous := c.enter(conn, time.Now()); superfluous != nil {
			cut(superfluous)
		}
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// enter returns a connection to close, or nil.
func (c *crowd) enter(conn net.Conn, now time.Time) (superfluous net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) >= c.max {
		superfluous = c.quietestLocked(conn)
		delete(c.conns, superfluous)
	}
	if superfluous != conn {
		c.conns[conn] = &guest{since: now}
	}
	return superfluous
}

func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// quietestLocked returns the connection that has been silent for the longest, or fallback if none is.
func (c *crowd) quietestLocked(fallback net.Conn) net.Conn {
	quietest, since := fallback, time.Time{}
	for conn, g := range c.conns {
		if g.requests == 0 && (since.IsZero() || g.since.Before(since)) {
			quietest, since = conn, g.since
		}
	}
	return quietest
}

// answering counts a request whose headers have come, until the function that it returns is called.
func (c *crowd) answering(conn net.Conn) (answered func()) {
	c.count(conn, 1)
	return func() { c.count(conn, -1) }
}

func (c *crowd) count(conn net.Conn, requests int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.conns[conn]; g != nil { // else it was closed a moment ago
		g.requests += requests
		g.since = time.Now()
	}
}

type crowdKey struct{}

// remember is for http.Server.ConnContext.
func (c *crowd) remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, crowdKey{}, conn)
}

// attend wraps the handler of all requests.
func (c *crowd) attend(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(crowdKey{}).(net.Conn)
		defer c.answering(conn)()
		handler.ServeHTTP(w, r)
	})
}

// cut closes without TLS's farewell, which might have to wait for the peer.
func cut(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	conn.Close()
}
