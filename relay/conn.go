package relay

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/stranger"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
	"linesplit/tlsconf"
)

// handshakeTimeout limits the TLS handshake with a client.
const handshakeTimeout = 10 * time.Second

// conn is one client with its target, once it has one.
//
// One goroutine prepares it: handshake and dial. Then that goroutine starts one for each direction
// and goes on to another client. Dialling makes a stack grow, and the two goroutines keep a small
// stack for as long as the connection lasts. The last of them to end closes the sockets and cleans
// up. Any goroutine may abort. That makes the reads and writes of the two goroutines fail.
type conn struct {
	v       *serving
	id      uint64
	start   time.Time
	client  splice.Side
	from    net.Addr          // remote address of the client
	to      net.Addr          // local address of the client's connection
	addr    netip.Addr        // IP address of the client; not valid for Unix clients
	sni     string            // server name, where TLS is passed through
	dials   int               // attempts to connect to a target
	backend *upstream.Backend // nil until there is a target; set under mu, before carrying

	pair  splice.Pair   // set together with backend
	ended atomic.Int32  // number of flows that have ended
	first atomic.Uint32 // traffic.End of the first flow that ended in an orderly way
	why   atomic.Uint32 // traffic.End of what broke the connection; NotEnded if nothing has
	over  atomic.Bool   // halt has been called

	targetRefuses, clientRefuses atomic.Bool // the side takes no more bytes from the other

	deliveredIn, deliveredOut int64 // set by finish

	mu       sync.Mutex
	target   splice.Side // guarded by mu until carrying
	carrying atomic.Bool

	silence silence // only maintain uses it, and sides
	sides   *sides  // nil without timeouts of the sides
}

func newConn(v *serving, nc net.Conn) *conn {
	c := &conn{
		v:      v,
		id:     v.clients.NextID(),
		start:  time.Now(),
		client: splice.NewSide(nc),
		from:   nc.RemoteAddr(),
		to:     nc.LocalAddr(),
		sni:    serverName(nc),
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
	c.startFlows()
}

// startFlows starts the two goroutines of a connection that has a target.
func (c *conn) startFlows() {
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
	c.client.Reset()
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
		attrs := []slog.Attr{slog.String("client", c.from.String()), slog.Any("err", stranger.Explain(err))}
		if advice := tlsconf.ListenerAdvice(err); advice != "" {
			attrs = append(attrs, slog.String("advice", advice))
		}
		c.v.handshakesFailed.Of(tlsconf.HandshakeFault(err)).Warn(c.v.logger, "TLS handshake failed", attrs...)
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

// decide sets the reason for the connection's end. It returns false if it was set before.
func (c *conn) decide(why traffic.End) bool {
	if !c.why.CompareAndSwap(uint32(traffic.NotEnded), uint32(why)) {
		return false
	}
	c.v.clients.CountCut(why)
	return true
}

// abort ends the connection at once. It returns false if another reason for its end was set before.
func (c *conn) abort(why traffic.End) bool {
	decided := c.decide(why)
	c.halt()
	return decided
}

// halt makes all reads and writes fail and ends all waiting, so that the flows end and both sides
// are reset.
func (c *conn) halt() {
	c.over.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client.Interrupt()
	c.target.Interrupt()
}

// abortAt ends the connection if its target is b, which is out of use: that side ends at once, and
// the client still gets what the target has sent.
func (c *conn) abortAt(b *upstream.Backend, why traffic.End) {
	if !c.carrying.Load() || c.backend != b || !c.decide(why) {
		return
	}
	c.target.Interrupt()
	c.client.InterruptReading()
}

// carry is the goroutine of one direction.
func (c *conn) carry(f *splice.Flow, e ends) {
	defer c.v.running.Done()
	c.flowEnded(f, e, f.Carry())
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
	rec := c.v.record(c.from, c.start, c.dials, why)
	rec.ServerName = cmp.Or(c.sni, c.client.ServerName())
	if c.backend != nil {
		rec.Target = c.backend.Target.String()
		rec.BytesIn, rec.BytesOut = c.deliveredIn, c.deliveredOut
	}
	c.v.clients.Record(rec)
}
