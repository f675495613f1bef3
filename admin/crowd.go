package admin

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConns is how many connections the admin listener has at one time.
const maxConns = 128

// crowd bounds the connections of a server. Where one too many comes, the one goes that has been silent for the longest, after its last
// answer or from the start; if none is silent, the newcomer. So clients that only hold their connections do not keep out a probe: where a
// probe decides whether the process lives, it would end for that, with all lines in it.
type crowd struct {
	max int

	mu    sync.Mutex             // protects the field below
	conns map[net.Conn]time.Time // since when it is silent; zero: it is not
}

func newCrowd(max int) *crowd { return &crowd{max: max, conns: map[net.Conn]time.Time{}} }

// track is for http.Server.ConnState.
func (c *crowd) track(conn net.Conn, state http.ConnState) {
	if superfluous := c.update(conn, state, time.Now()); superfluous != nil {
		cut(superfluous)
	}
}

// update returns a connection to close, or nil.
func (c *crowd) update(conn net.Conn, state http.ConnState, now time.Time) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		var superfluous net.Conn
		if len(c.conns) >= c.max {
			superfluous = c.quietestLocked(conn)
			delete(c.conns, superfluous)
		}
		if superfluous != conn {
			c.conns[conn] = now
		}
		return superfluous
	case http.StateClosed, http.StateHijacked:
		delete(c.conns, conn)
		return nil
	}
	if _, known := c.conns[conn]; !known { // it was closed a moment ago
		return nil
	}
	c.conns[conn] = time.Time{}
	if state == http.StateIdle {
		c.conns[conn] = now
	}
	return nil
}

// quietestLocked returns the connection that has been silent for the longest, or fallback if none is.
func (c *crowd) quietestLocked(fallback net.Conn) net.Conn {
	quietest, since := fallback, time.Time{}
	for conn, silent := range c.conns {
		if !silent.IsZero() && (since.IsZero() || silent.Before(since)) {
			quietest, since = conn, silent
		}
	}
	return quietest
}

// cut closes without TLS's farewell, which might have to wait for the peer.
func cut(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	conn.Close()
}
