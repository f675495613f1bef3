package admin

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/clientlimit"
)

const (
	// MaxConns limits the open connections of the admin listener. For a moment there is one more,
	// while it takes the place of another.
	MaxConns = 128
	// maxUnread limits the bytes of all answers that wait for their clients.
	maxUnread = 16 << 20
	// sendBuffer is the size in bytes of each connection's send buffer in the kernel.
	sendBuffer = 64 << 10
	// stuckAfter is the duration of a write after which its client counts as not taking its answer.
	// A write waits for the client only when the buffers of both kernels are full.
	stuckAfter = 50 * time.Millisecond
	// modest is the number of places that a peer may take before it counts as greedy, where an
	// equal share is smaller: a probe and a scrape of one machine may come at the same moment.
	modest = 2
	// idleAfter is the time without a request after which a connection counts as idle.
	idleAfter = time.Second
	// maxRow is the number of requests in a row after which a connection gives way before new ones:
	// a probe must not lose its place, in the moment before its request is read, to those of
	// clients that are being answered all the time.
	maxRow = 8
	// pace is the wait before each further answer on such a connection while more than half of all
	// places are taken: a hundred of them keep the processors from others for seconds.
	pace = 50 * time.Millisecond
)

// connLimiter limits the connections of a server. At the limit, a new connection takes the place of
// another; see client.claim for the order. So clients that only hold connections, send their
// requests slowly, or do not read their answers cannot lock out a health probe: an orchestrator
// would kill the process for that, with all lines in it. Nor can peers that open connections faster
// than a probe sends its request: they take the places of their own connections.
//
// Places are left for probes and metrics because the requests that keep their places while they are
// being worked on are limited in number, all kinds together to less than MaxConns: there is always
// a connection that has to give way.
type connLimiter struct {
	max       int
	maxUnread int64

	mu     sync.Mutex           // protects the fields below
	conns  map[net.Conn]*client // the open connections
	unread int64                // sum of client.unread
}

// client is the state of one connection.
type client struct {
	peer     string    // see peerOf
	requests int       // being answered
	row      int       // requests since start
	start    time.Time // the opening, or the first request after a pause of idleAfter
	kept     int       // requests that keep the place; see keepPlace
	since    time.Time // of the last request or response, or of the opening
	writing  time.Time // start of the write that waits for the client; zero: none does
	unread   int64     // bytes given to that write
}

func newConnLimiter(max int) *connLimiter {
	return &connLimiter{max: max, maxUnread: maxUnread, conns: map[net.Conn]*client{}}
}

// connState implements http.Server.ConnState.
func (l *connLimiter) connState(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		limitSendBuffer(conn)
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
	peer := peerOf(conn.RemoteAddr())
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.max {
		if evicted = l.victimLocked(peer, now); evicted == nil {
			return conn
		}
		l.removeLocked(evicted)
	}
	l.conns[conn] = &client{since: now, start: now, peer: peer}
	return evicted
}

func (l *connLimiter) remove(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeLocked(conn)
}

func (l *connLimiter) removeLocked(conn net.Conn) {
	if c := l.conns[conn]; c != nil {
		l.unread -= c.unread
		delete(l.conns, conn)
	}
}

// victimLocked returns the connection that has to give way to a new one of a peer, or nil if none
// has to.
//
// Connections that keep their places do not count, the new one does. A peer is greedy if it has
// more connections than an equal share, and more than modest. With the new one there are more
// connections than equal shares, so that some peer is greedy while an equal share is at least
// modest. Until then a peer with no more than that loses none.
func (l *connLimiter) victimLocked(newcomer string, now time.Time) (victim net.Conn) {
	claims := make(map[net.Conn]claim, len(l.conns))
	held := map[string]int{newcomer: 1}
	for conn, c := range l.conns {
		if this := c.claim(now); this.right != kept {
			claims[conn] = this
			held[c.peer]++
		}
	}
	share := max(modest, len(claims)/len(held))
	var weakest claim
	for conn, this := range claims {
		this.held = held[l.conns[conn].peer]
		this.greedy = this.held > share
		if victim == nil || this.weaker(weakest) {
			victim, weakest = conn, this
		}
	}
	return victim
}

// claim is a connection's claim to its place.
type claim struct {
	greedy bool // see victimLocked
	right  right
	held   int // connections of its peer that do not keep their places
	since  time.Time
}

// right names what a claim rests on, the weakest first.
type right int

const (
	stuck   right = iota // its client does not take its answer
	idle                 // nothing has happened for a while
	endless              // its client has sent request upon request
	young                // none of these: it is new, or sends a request now and then
	kept                 // a request keeps the place
)

func (c *client) claim(now time.Time) claim {
	switch {
	case !c.writing.IsZero() && now.Sub(c.writing) >= stuckAfter:
		return claim{right: stuck, since: c.writing}
	case c.kept > 0 && c.writing.IsZero():
		return claim{right: kept, since: c.since}
	case c.requests == 0 && now.Sub(c.since) >= idleAfter:
		return claim{right: idle, since: c.since}
	case c.row > maxRow:
		return claim{right: endless, since: c.since}
	}
	return claim{right: young, since: c.start}
}

// weaker reports whether c gives way before another claim.
func (c claim) weaker(than claim) bool {
	switch {
	case c.greedy != than.greedy:
		return c.greedy
	case c.right != than.right:
		return c.right < than.right
	case c.held != than.held:
		return c.held > than.held
	}
	return c.since.Before(than.since)
}

// begin counts a request whose headers were read, until the caller calls end.
func (l *connLimiter) begin(conn net.Conn) (end func()) {
	l.count(conn, 1)
	return func() { l.count(conn, -1) }
}

func (l *connLimiter) count(conn net.Conn, requests int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[conn]
	if c == nil { // it was closed meanwhile
		return
	}
	now := time.Now()
	if requests > 0 {
		if now.Sub(c.since) >= idleAfter {
			c.row, c.start = 0, now
		}
		c.row++
	}
	c.requests += requests
	c.since = now
}

// isEndless reports whether a connection sends request upon request while many places are taken.
func (l *connLimiter) isEndless(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[conn]
	return c != nil && c.row > maxRow && len(l.conns) > l.max/2
}

// beginWrite notes that n bytes wait for a client, until the caller calls end. If too many bytes
// wait for clients now, it closes the connections that have waited longest.
func (l *connLimiter) beginWrite(conn net.Conn, n int) (end func()) {
	for _, evicted := range l.wait(conn, int64(n), time.Now()) {
		closeNow(evicted)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if c := l.conns[conn]; c != nil {
			l.unread -= c.unread
			c.unread, c.writing = 0, time.Time{}
		}
	}
}

// wait returns the connections that the caller must close.
func (l *connLimiter) wait(conn net.Conn, n int64, now time.Time) (evicted []net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[conn]
	if c == nil {
		return nil
	}
	for l.unread > 0 && l.unread+n > l.maxUnread {
		longest := l.longestWritingLocked()
		l.removeLocked(longest)
		evicted = append(evicted, longest)
	}
	c.writing, c.unread = now, n
	l.unread += n
	return evicted
}

func (l *connLimiter) longestWritingLocked() (longest net.Conn) {
	var since time.Time
	for conn, c := range l.conns {
		if c.unread > 0 && (longest == nil || c.writing.Before(since)) {
			longest, since = conn, c.writing
		}
	}
	return longest
}

// place is the place of a connection.
type place struct {
	limiter *connLimiter
	conn    net.Conn
}

type placeKey struct{}

// connContext implements http.Server.ConnContext: it hands the place to the requests.
func (l *connLimiter) connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, placeKey{}, place{l, conn})
}

// keepPlace keeps the place of a request's connection until the caller calls release, except while
// an answer is being written. Callers limit the number of such requests; see connLimiter.
func keepPlace(r *http.Request) (release func()) {
	p, ok := r.Context().Value(placeKey{}).(place)
	if !ok { // without a limiter
		return func() {}
	}
	p.limiter.keep(p.conn, 1)
	return func() { p.limiter.keep(p.conn, -1) }
}

func (l *connLimiter) keep(conn net.Conn, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.conns[conn]; c != nil {
		c.kept += n
	}
}

// countRequests wraps the handler of all requests.
func (l *connLimiter) countRequests(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(placeKey{}).(place)
		defer l.begin(p.conn)()
		if l.isEndless(p.conn) {
			accept.Pause(r.Context(), pace)
		}
		handler.ServeHTTP(&watchedWriter{w, p}, r)
	})
}

// watchedWriter tells the limiter when a write waits for the client.
type watchedWriter struct {
	http.ResponseWriter
	place
}

// Write implements http.ResponseWriter.
func (w *watchedWriter) Write(p []byte) (int, error) {
	defer w.limiter.beginWrite(w.conn, len(p))()
	return w.ResponseWriter.Write(p)
}

// FlushError implements http.ResponseController's optional interface.
func (w *watchedWriter) FlushError() error {
	defer w.limiter.beginWrite(w.conn, 0)()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap returns the wrapped writer to http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// peerOf returns the name by which clients at an address are told apart, as in clientlimit.Network.
// It is "" for Unix sockets.
func peerOf(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return peerAt(addr.String())
}

// requestPeer returns peerOf for the client of a request.
func requestPeer(r *http.Request) string { return peerAt(r.RemoteAddr) }

func peerAt(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	return clientlimit.Network(at.Addr()).String()
}

// limitSendBuffer bounds the bytes that the kernel holds for a client. It also makes a client that
// does not read show soon, in a write that waits.
func limitSendBuffer(conn net.Conn) {
	if c, ok := rawConn(conn).(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = c.SetWriteBuffer(sendBuffer) // fails only on a closed connection
	}
}

// closeNow closes conn without TLS's close_notify, which might wait for the peer.
func closeNow(conn net.Conn) { rawConn(conn).Close() }

// rawConn returns the connection to the kernel, below TLS.
func rawConn(conn net.Conn) net.Conn {
	for {
		upper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = upper.NetConn()
	}
}
