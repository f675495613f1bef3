package relay

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
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
	v       *serving
	id      uint64
	start   time.Time
	client  splice.Side
	from    net.Addr   // the client's address
	to      net.Addr   // the one that it has connected to
	addr    netip.Addr // its IP address; not valid for Unix clients
	dials   int
	backend *upstream.Backend // not nil once there is a target; under mu for those who abort

	pair  *splice.Pair // nil as long as place is
	ended atomic.Int32 // of the two flows
	first atomic.Uint32
	why   atomic.Uint32 // traffic.NotEnded until something other than an orderly end comes

	unwanted atomic.Bool // the target has refused what the client sent

	mu       sync.Mutex
	target   splice.Side // guarded by mu until carrying
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
	c := &conn{v: v, id: v.clients.NextID(), start: time.Now(), client: splice.NewSide(nc), from: nc.RemoteAddr(), to: nc.LocalAddr()}
	if a, ok := c.from.(*net.TCPAddr); ok {
		c.addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	return c
}

// prepare does all that comes before the first byte.
func (c *conn) prepare() {
	why := c.handshake()
	if why == traffic.NotEnded {
		why = c.connect()
	}
	if why != traffic.NotEnded {
		c.giveUp(why)
		return
	}
	switch p := c.backend; { // since it was chosen: the others have been reset by now
	case p.Expelled():
		c.abort(traffic.EndTargetRemoved)
	case c.v.tuned().ResetOnDown && p.Target.Down():
		c.abort(traffic.EndTargetDown)
	}
	c.v.running.Add(2)
	go c.carry(&c.pair.In, clientEnds)
	go c.carry(&c.pair.Out, targetEnds)
}

// giveUp ends a client that has not been connected.
func (c *conn) giveUp(why traffic.End) {
	if !c.abort(why) {
		why = traffic.End(c.why.Load())
	}
	c.v.clients.CountRefusal(why)
	c.cleanUp(why)
}

// handshake does nothing for a plain connection.
func (c *conn) handshake() traffic.End {
	if err := c.client.Handshake(handshakeTimeout); err != nil {
		return c.handshakeFailed(err)
	}
	return traffic.NotEnded
}

func (c *conn) handshakeFailed(err error) traffic.End {
	if c.why.Load() == uint32(traffic.NotEnded) {
		c.v.clients.HandshakeErrors.Add(1)
		c.v.handshakesFailed.Warn(c.v.logger, "TLS handshake failed",
			slog.String("client", c.from.String()), slog.Any("err", err))
		c.client.CloseSocket() // in an orderly way: the alert says what was wrong
	}
	return traffic.EndHandshake
}

// join makes nc the target. It returns false if the connection has been aborted.
func (c *conn) join(p *upstream.Backend, nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = splice.NewSide(nc)
	if c.why.Load() != uint32(traffic.NotEnded) {
		c.target.Reset()
		return false
	}
	c.backend = p
	c.pair = splice.NewPair(c.v.carrier, &c.client, &c.target, &p.BytesIn, &p.BytesOut)
	c.carrying.Store(true)
	return true
}

// abort resets both sides. It returns false if somebody else did before.
func (c *conn) abort(why traffic.End) bool {
	if !c.why.CompareAndSwap(uint32(traffic.NotEnded), uint32(why)) {
		return false
	}
	c.v.clients.CountCut(why)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client.Reset()
	c.target.Reset()
	return true
}

// abortAt aborts if the target is the one of p.
func (c *conn) abortAt(p *upstream.Backend, why traffic.End) {
	if c.carrying.Load() && c.backend == p {
		c.abort(why)
	}
}

// ends are what to say of a flow's source, and of the side that takes nothing from it.
type ends struct{ closed, reset, undeliverable traffic.End }

var (
	clientEnds = ends{closed: traffic.EndClientClosed, reset: traffic.EndClientReset, undeliverable: traffic.EndTargetReset}
	targetEnds = ends{closed: traffic.EndTargetClosed, reset: traffic.EndTargetReset, undeliverable: traffic.EndClientReset}
)

// carry is the goroutine of one direction.
func (c *conn) carry(f *splice.Flow, e ends) {
	defer c.v.running.Done()
	c.flowEnded(f, e, f.Carry())
}

// flowEnded is for each flow at its end, with nil for an orderly one. The first orderly end is passed on to the other side, which may
// still have something to say; at the second, closing says the same.
func (c *conn) flowEnded(f *splice.Flow, e ends, err error) {
	switch {
	case err == nil:
		c.first.CompareAndSwap(uint32(traffic.NotEnded), uint32(e.closed))
	case err == splice.ErrUndeliverable:
		c.unwanted.CompareAndSwap(false, f == &c.pair.In)
		// What the receiving side has said before it broke is on its way in the other direction, and so is the news of its end.
	default:
		c.abort(e.reset)
	}
	if c.ended.Add(1) == 2 {
		if c.first.Load() == uint32(traffic.NotEnded) {
			c.abort(e.undeliverable) // neither side takes anything, and neither has ended: this one was found out last
		}
		c.finish()
		return
	}
	if err == nil {
		f.CloseWrite()
	}
}

// finish ends a connection that both flows have done with.
func (c *conn) finish() {
	why := traffic.End(c.why.Load())
	if why == traffic.NotEnded {
		why = traffic.End(c.first.Load())
		c.settle()
		c.client.Close()
		c.target.Close()
	}
	c.cleanUp(why)
}

// settle gives a client that was still sending the time to take what it was sent: closing a socket with something unread in it resets
// it, and what is on its way is lost.
func (c *conn) settle() {
	if c.unwanted.Load() {
		c.client.CloseWrite()
		c.client.Drop(settleTime)
	}
}

// cleanUp takes the connection out of all books. The sockets have been closed.
func (c *conn) cleanUp(why traffic.End) {
	if c.backend != nil {
		c.v.backends.Release(c.backend)
	}
	c.v.remove(c)
	c.v.clients.Dismiss(c.addr)
	c.report(why)
}

func (c *conn) report(why traffic.End) {
	if !c.v.clients.Recording() {
		return
	}
	rec := Record{
		Start:    c.start,
		Client:   c.from.String(),
		Listener: accept.Name(c.v.ln),
		Duration: time.Since(c.start),
		Dials:    c.dials,
		End:      why.String(),
	}
	if c.backend != nil {
		rec.Target = c.backend.Target.String()
		rec.BytesIn, rec.BytesOut = c.pair.In.Moved(), c.pair.Out.Moved()
	}
	c.v.clients.Record(rec)
}

// checkSilence aborts a connection that has looked the same for too long.
func (c *conn) checkSilence(now time.Time, set *Tuning) {
	if !c.carrying.Load() {
		return
	}
	seen := progress{c.pair.In.Moved() + c.pair.Out.Moved(), c.ended.Load()}
	if seen != c.seen || c.since.IsZero() {
		c.seen, c.since = seen, now
		return
	}
	silent := now.Sub(c.since)
	switch {
	case set.IdleTimeout > 0 && silent >= set.IdleTimeout:
		c.abort(traffic.EndIdle)
	case seen.ended == 1 && silent >= set.LingerTimeout:
		c.abort(traffic.EndLinger)
	}
}
