package relay

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
)

// handshakeTimeout bounds the TLS handshake with a client.
const handshakeTimeout = 10 * time.Second

// settleTime is how long a client whose bytes the target has refused may take to receive the last of the reply.
const settleTime = 2 * time.Second

// conn is one client, and its target once there is one.
//
// It begins with one goroutine, which prepares. When that has connected the client, it starts one for each direction and goes on to
// another client: dialling makes a stack grow, and these two have to do with a small one for as long as the connection lasts. The last of them to end cleans up.
// Anybody may abort; then the sockets are closed under the goroutines, which find out.
type conn struct {
	v      *serving
	id     uint64
	start  time.Time
	client side
	from   net.Addr   // the client's address
	to     net.Addr   // the one that it has connected to
	addr   netip.Addr // its IP address; not valid for Unix clients
	dials  int
	place  *place // not nil once there is a target; under mu for those who abort

	in, out flow         // client to target, target to client
	ended   atomic.Int32 // of the two
	first   atomic.Uint32
	why     atomic.Uint32 // notEnded until something other than an orderly end comes

	unwanted atomic.Bool // the target has refused what the client sent

	mu       sync.Mutex
	target   side // guarded by mu until carrying
	carrying atomic.Bool

	// Housekeeping's own.
	seen  progress
	since time.Time // when it began to look like seen
}

// progress is what changes as long as a connection is alive.
type progress struct {
	bytes int64
	ended int32
}

func newConn(v *serving, nc net.Conn) *conn {
	c := &conn{v: v, id: v.ids.Add(1), start: time.Now(), client: newSide(nc), from: nc.RemoteAddr(), to: nc.LocalAddr()}
	if a, ok := c.from.(*net.TCPAddr); ok {
		c.addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	return c
}

// prepare does all that comes before the first byte.
func (c *conn) prepare() {
	why := c.handshake()
	if why == notEnded {
		why = c.connect()
	}
	if why != notEnded {
		c.giveUp(why)
		return
	}
	switch p := c.place; { // since it was chosen: the others have been reset by now
	case p.expelled.Load():
		c.abort(targetRemoved)
	case c.v.tuned().ResetOnDown && p.t.Down():
		c.abort(targetDown)
	}
	c.v.running.Add(2)
	go c.in.run()
	go c.out.run()
}

// giveUp ends a client that has not been connected.
func (c *conn) giveUp(why end) {
	if !c.abort(why) {
		why = end(c.why.Load())
	}
	c.v.refuse(why)
	c.cleanUp(why)
}

// handshake does nothing for a plain connection.
func (c *conn) handshake() end {
	t, ok := c.client.conn.(*tls.Conn)
	if !ok {
		return notEnded
	}
	c.client.raw.SetDeadline(time.Now().Add(handshakeTimeout))
	if err := t.Handshake(); err != nil {
		return c.handshakeFailed(err)
	}
	c.client.raw.SetDeadline(time.Time{})
	return notEnded
}

func (c *conn) handshakeFailed(err error) end {
	if c.why.Load() == uint32(notEnded) {
		c.v.counters.handshakeErrors.Add(1)
		c.v.handshakesFailed.Warn(c.v.o.Logger, "TLS handshake failed",
			slog.String("client", c.from.String()), slog.Any("err", err))
		c.client.raw.Close() // in an orderly way: the alert says what was wrong
	}
	return handshake
}

// join makes nc the target. It returns false if the connection has been aborted.
func (c *conn) join(p *place, nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = newSide(nc)
	if c.why.Load() != uint32(notEnded) {
		c.target.reset()
		return false
	}
	c.place = p
	c.in = flow{c: c, src: &c.client, dst: &c.target, total: &p.bytesIn, back: &c.out, closed: clientClosed, reset: clientReset}
	c.out = flow{c: c, src: &c.target, dst: &c.client, total: &p.bytesOut, back: &c.in, closed: targetClosed, reset: targetReset}
	c.carrying.Store(true)
	return true
}

// abort resets both sides. It returns false if somebody else did before.
func (c *conn) abort(why end) bool {
	if !c.why.CompareAndSwap(uint32(notEnded), uint32(why)) {
		return false
	}
	c.v.counters.cut(why)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client.reset()
	c.target.reset()
	return true
}

// abortAt aborts if the target is the one of p.
func (c *conn) abortAt(p *place, why end) {
	if c.carrying.Load() && c.place == p {
		c.abort(why)
	}
}

// flowEnded is for each flow at its end, with nil for an orderly one. The first orderly end is passed on to the other side, which may
// still have something to say; at the second, closing says the same.
func (c *conn) flowEnded(f *flow, err error) {
	switch {
	case err == nil:
		c.first.CompareAndSwap(uint32(notEnded), uint32(f.closed))
	case err == errUndeliverable:
		c.unwanted.CompareAndSwap(false, f == &c.in)
		// What the receiving side has said before it broke is on its way in the other direction, and so is the news of its end.
	default:
		c.abort(f.reset)
	}
	if c.ended.Add(1) == 2 {
		if c.first.Load() == uint32(notEnded) {
			c.abort(f.back.reset) // neither side takes anything, and neither has ended: this one was found out last
		}
		c.finish()
		return
	}
	if err == nil {
		f.dst.closeWrite()
	}
}

// finish ends a connection that both flows have done with.
func (c *conn) finish() {
	why := end(c.why.Load())
	if why == notEnded {
		why = end(c.first.Load())
		c.settle()
		c.client.close()
		c.target.close()
	}
	c.cleanUp(why)
}

// settle gives a client that was still sending the time to take what it was sent: closing a socket with something unread in it resets
// it, and what is on its way is lost.
func (c *conn) settle() {
	if c.unwanted.Load() {
		c.client.closeWrite()
		c.client.drop(settleTime)
	}
}

// cleanUp takes the connection out of all books. The sockets have been closed.
func (c *conn) cleanUp(why end) {
	if c.place != nil {
		c.v.release(c.place)
	}
	c.v.remove(c)
	c.v.dismiss(c.addr)
	c.report(why)
}

func (c *conn) report(why end) {
	if c.v.o.AccessLog == nil {
		return
	}
	rec := Record{
		Start:    c.start,
		Client:   c.from.String(),
		Listener: accept.Name(c.v.ln),
		BytesIn:  c.in.moved.Load(),
		BytesOut: c.out.moved.Load(),
		Duration: time.Since(c.start),
		Dials:    c.dials,
		End:      why.String(),
	}
	if c.place != nil {
		rec.Target = c.place.t.String()
	}
	c.v.record(rec)
}

// checkSilence aborts a connection that has looked the same for too long.
func (c *conn) checkSilence(now time.Time, set *Tuning) {
	if !c.carrying.Load() {
		return
	}
	seen := progress{c.in.moved.Load() + c.out.moved.Load(), c.ended.Load()}
	if seen != c.seen || c.since.IsZero() {
		c.seen, c.since = seen, now
		return
	}
	silent := now.Sub(c.since)
	switch {
	case set.IdleTimeout > 0 && silent >= set.IdleTimeout:
		c.abort(idle)
	case seen.ended == 1 && silent >= set.LingerTimeout:
		c.abort(linger)
	}
}
