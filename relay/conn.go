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

// handshakeTimeout limits the TLS handshake with a client.
const handshakeTimeout = 10 * time.Second

// settleTime is the time that a client has to receive the rest of the reply if the target no longer
// takes its bytes.
const settleTime = 2 * time.Second

// conn is one client with its target, once it has one.
//
// One goroutine prepares it: handshake and dial. Then that goroutine starts one for each direction
// and goes on to another client. Dialling makes a stack grow, and the two goroutines keep a small
// stack for as long as the connection lasts. The last of them to end cleans up. Any goroutine may
// abort. That closes the sockets, so that the reads and writes of the two goroutines fail.
type conn struct {
	v       *serving
	id      uint64
	start   time.Time
	client  splice.Side
	from    net.Addr          // remote address of the client
	to      net.Addr          // local address of the client's connection
	addr    netip.Addr        // IP address of the client; not valid for Unix clients
	dials   int               // attempts to connect to a target
	backend *upstream.Backend // nil until there is a target; set under mu, before carrying

	pair  splice.Pair   // set together with backend
	ended atomic.Int32  // number of flows that have ended
	first atomic.Uint32 // traffic.End of the first flow that ended in an orderly way
	why   atomic.Uint32 // traffic.End of what aborted the connection; NotEnded if nothing has

	undelivered atomic.Bool // the target has refused bytes of the client

	mu       sync.Mutex
	target   splice.Side // guarded by mu until carrying
	carrying atomic.Bool

	// Only maintain uses these.
	seen  progress
	since time.Time // when the progress became seen
}

// progress changes as long as the connection is not silent.
type progress struct {
	bytes int64
	ended int32
}

func newConn(v *serving, nc net.Conn) *conn {
	c := &conn{
		v:      v,
		id:     v.clients.NextID(),
		start:  time.Now(),
		client: splice.NewSide(nc),
		from:   nc.RemoteAddr(),
		to:     nc.LocalAddr(),
	}
	if a, ok := c.from.(*net.TCPAddr); ok {
		c.addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	return c
}

// prepare does the handshake, connects to a target, and starts the two flows.
func (c *conn) prepare() {
	why := c.handshake()
	if why == traffic.NotEnded {
		why = c.connect()
	}
	if why != traffic.NotEnded {
		c.giveUp(why)
		return
	}
	// The target may have changed while it was being dialled, before abortAt could find this conn.
	switch b := c.backend; {
	case b.Expelled():
		c.abort(traffic.EndTargetRemoved)
	case c.v.tuned().ResetOnDown && b.Target.Down():
		c.abort(traffic.EndTargetDown)
	}
	c.v.running.Add(2)
	go c.carry(&c.pair.In, clientEnds)
	go c.carry(&c.pair.Out, targetEnds)
}

// giveUp ends a client that was not connected to a target.
func (c *conn) giveUp(why traffic.End) {
	if !c.abort(why) {
		why = traffic.End(c.why.Load())
	}
	c.v.clients.CountRefusal(why)
	c.cleanUp(why)
}

// handshake does the TLS handshake; for a plain connection it does nothing.
func (c *conn) handshake() traffic.End {
	if err := c.client.Handshake(handshakeTimeout); err != nil {
		return c.handshakeFailed(err)
	}
	return traffic.NotEnded
}

func (c *conn) handshakeFailed(err error) traffic.End {
	if accept.IsProbe(err) {
		return traffic.EndProbe
	}
	if c.why.Load() == uint32(traffic.NotEnded) {
		c.v.clients.HandshakeErrors.Add(1)
		c.v.handshakesFailed.Warn(c.v.logger, "TLS handshake failed",
			slog.String("client", c.from.String()), slog.Any("err", err))
		c.client.CloseSocket() // without a reset, so that the client receives the TLS alert
	}
	return traffic.EndHandshake
}

// join makes nc the connection with the target. It returns false if the conn has been aborted.
func (c *conn) join(b *upstream.Backend, nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = splice.NewSide(nc)
	if c.why.Load() != uint32(traffic.NotEnded) {
		c.target.Reset()
		return false
	}
	c.backend = b
	c.pair.Init(c.v.carrier, &c.client, &c.target, &b.BytesIn, &b.BytesOut)
	c.carrying.Store(true)
	return true
}

// abort resets both sides. It returns false if the conn was aborted before.
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

// abortAt aborts if the client is connected to b.
func (c *conn) abortAt(b *upstream.Backend, why traffic.End) {
	if c.carrying.Load() && c.backend == b {
		c.abort(why)
	}
}

// ends holds the reasons to record for a flow: its source has closed or was reset, or its
// destination takes no bytes.
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

// flowEnded records the end of a flow; err is nil for an orderly one. The first orderly end is
// passed on to the other side as a half-close, since that side may still send. After the second,
// both sides are closed.
func (c *conn) flowEnded(f *splice.Flow, e ends, err error) {
	switch {
	case err == nil:
		c.first.CompareAndSwap(uint32(traffic.NotEnded), uint32(e.closed))
	case err == splice.ErrUndeliverable:
		c.undelivered.CompareAndSwap(false, f == &c.pair.In)
		// The bytes that the receiving side sent before it broke are still carried in the other
		// direction, and its end follows them there.
	default:
		c.abort(e.reset)
	}
	if c.ended.Add(1) == 2 {
		if c.first.Load() == uint32(traffic.NotEnded) {
			c.abort(e.undeliverable) // neither side takes bytes, and neither has ended; this flow found out last
		}
		c.finish()
		return
	}
	if err == nil {
		f.CloseWrite()
	}
}

// finish ends a connection when both flows have ended.
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

// settle gives a client that was still sending the time to receive the reply. Closing a socket with
// unread data resets it, and bytes on their way to the client are lost.
func (c *conn) settle() {
	if c.undelivered.Load() {
		c.client.CloseWrite()
		c.client.Drop(settleTime)
	}
}

// cleanUp releases what the connection holds and records its end. The sockets have been closed.
func (c *conn) cleanUp(why traffic.End) {
	if c.backend != nil {
		c.v.backends.Release(c.backend)
	}
	c.v.remove(c)
	c.v.clients.Dismiss(c.addr)
	c.report(why)
}

// report writes the record of the connection to the access log.
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

// checkSilence aborts a connection that has made no progress for too long.
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
