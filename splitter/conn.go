package splitter

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// conn is one inbound connection: the driver of an [intake.Stream], which has the rules. Only its
// goroutine, or its event loop, touches it; comments on fields name the exceptions.
//
// While it waits for bytes it has few and small stack frames, and its stream little memory:
// thousands of idle connections cost a few kilobytes each.
type conn struct {
	v      *serving
	nc     net.Conn
	raw    net.Conn // nc, or the connection below its TLS; closed in place of nc, so that nothing is written
	secure bool     // nc speaks TLS
	read   func() (int, error)
	in     intake.Stream

	outlet Outlet
	inGate bool // holds a place in Splitter.gate

	datagrams bool // carries the datagrams of many senders
	stdin     bool // carries standard input
	sniffing  bool // see sniff

	viaFD    fdReader
	small    []byte                    // see readHeld; nil for connections that are read through a descriptor
	readInto func([]byte) (int, error) // see readHeld; nil as small is
	loop     *looped                   // nil if a goroutine reads the connection

	lapsed bool // the last read ended at its deadline

	requested atomic.Bool // run calls handleRequests before the next read

	mu         sync.Mutex
	cut        bool   // Tuning.Drain has passed, or a timeout
	timedOut   error  // the timeout, if one has passed
	halfClosed bool   // the sender has been sent a FIN
	shaking    bool   // the TLS handshake is in progress
	cancel     func() // ends the wait for a buffer; nil if there is no wait

	since    time.Time
	received linebuf.AtomicCount // complete lines and all bytes read, for Connections; written by the goroutine

	id          uint64 // registry sets it, once
	links[conn]        // guarded by registry.mu
}

var (
	errCutOff  = errors.New("cut off: the drain ended")
	errTooLong = errors.New("closed: a line is too long")
	// errUncounted ends a sender of which it is not known where its next line begins.
	errUncounted = errors.New("closed: the line does not begin with its length and a space, as octet counting has it")
	errNoClose   = errors.New("the TLS stream ended in mid-line without close_notify, so it may have been cut off")
)

func newConn(v *serving, nc net.Conn) *conn {
	c := &conn{v: v, nc: nc, raw: below(nc), since: time.Now(), outlet: v.o.Outlet(), sniffing: true}
	_, c.datagrams = nc.RemoteAddr().(*net.UDPAddr)
	c.stdin = isStdin(nc)
	_, c.secure = nc.(*tls.Conn)
	c.shaking = c.secure
	if c.loop = onLoop(nc); c.loop == nil && !c.viaFD.init(c) {
		c.read, c.readInto = c.readHeld, readerOf(nc)
		c.small = make([]byte, intake.SmallRead)
	}
	c.in.Init(v.streams, c, intake.Options{Held: c.small != nil, Timed: isTimed(nc), Framing: v.framing}, c.limits(), c.since)
	return c
}

// serve is the goroutine of the connection.
func (c *conn) serve() {
	err := c.handshake()
	if err == nil {
		err = c.truncation(c.run())
		c.noteEnd(err)
	}
	c.finish(err)
}

// run reads until the connection ends, and returns the reason. Only io.EOF is a clean end.
func (c *conn) run() error {
	for {
		if c.lapsed || c.requested.Load() {
			if err := c.handleRequests(); err != nil {
				return err
			}
		}
		n, err := c.read()
		if n > 0 { // bytes that come with an error count, too
			if err := c.take(n); err != nil {
				return err
			}
		}
		c.LeaveGate()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.lapsed = true
		default:
			return err
		}
	}
}

// take processes n bytes that have been read into the stream's room.
func (c *conn) take(n int) error {
	if c.sniffing {
		c.sniff(c.in.Fresh(n))
	}
	r := c.in.Read(n, c.limits(), time.Now())
	c.received.Add(linebuf.Count{Lines: uint64(r.Lines), Bytes: uint64(n)})
	if r.Whole != nil {
		if err := c.send(r.Whole); err != nil {
			return err
		}
	}
	switch {
	case r.Uncounted:
		return errUncounted
	case r.Close:
		return errTooLong
	}
	c.in.Settle()
	return nil
}

// limits returns the limits for lines. A connection that carries the datagrams of many senders is
// not closed for the fault of one of them.
func (c *conn) limits() intake.Limits {
	set := c.v.tuned()
	if c.datagrams && set.Oversize == Close {
		return intake.Limits{MaxLine: set.MaxLine, Policy: Drop}
	}
	join := intake.Join{Start: set.RecordStart, Lines: set.RecordLines}
	if c.datagrams { // of many senders
		join = intake.Join{}
	}
	return intake.Limits{MaxLine: set.MaxLine, Policy: set.Oversize, Join: join}
}

// send hands b over, to the outlet or the channel. While the channel is full it waits, which holds
// back the sender. On a loop, b is kept instead until a goroutine waits.
func (c *conn) send(b *linebuf.Buffer) error {
	switch {
	case c.trySend(b):
		return nil
	case c.loop != nil:
		c.loop.unsent = b
		return nil
	}
	return c.sendWaiting(b)
}

// trySend is send without waiting.
func (c *conn) trySend(b *linebuf.Buffer) bool {
	if o, ok := c.outlet.(KeyedOutlet); ok {
		return c.offerKeyed(o, b)
	}
	n := b.Count()
	if !c.outlet.Offer(b) {
		select {
		case c.v.out <- b:
		default:
			return false
		}
	}
	c.v.counters.queue(n)
	return true
}

// sendWaiting waits for the channel. If hard ends first, b is dropped.
func (c *conn) sendWaiting(b *linebuf.Buffer) error {
	if o, ok := c.outlet.(KeyedOutlet); ok {
		return c.sendKeyed(o, b)
	}
	defer c.resume(c.holdUp())
	n := b.Count()
	select {
	case c.v.out <- b:
		c.v.counters.queue(n)
		return nil
	case <-c.v.hard.Done():
		c.dropAtShutdown(b)
		return net.ErrClosed
	}
}

// dropAtShutdown drops b, which no worker has taken. If b has receipts, their issuer still has the
// lines.
func (c *conn) dropAtShutdown(b *linebuf.Buffer) {
	c.countDrop(intake.ReasonShutdown, b.Count(), nil)
	b.Forsake()
	c.v.pool.Put(b)
}

// finish ends the connection. A record that could have gone on ends with it. A last line without a
// newline gets one at a clean end; a counted one, or any if the connection broke, is dropped as
// torn.
func (c *conn) finish(err error) {
	c.LeaveGate()
	last := c.in.Complete
	if err == io.EOF {
		last = c.in.Last
	}
	if b := last(time.Now()); b != nil && !c.trySend(b) {
		c.sendWaiting(b)
	}
	c.flush()
	if torn := c.in.Torn(); torn.Lines > 0 {
		c.countDrop(intake.ReasonTorn, torn, err)
	}
	c.in.End()
	if c.cutOffBy(err) {
		c.v.counters.cutOff.Add(1)
	}
	c.answerEnd(err)
	c.raw.Close()
	c.v.registry.remove(c)
	c.v.clients.byAddr.Dismiss(clientOf(c.nc))
	if !c.datagrams {
		c.v.counters.connections.Add(-1)
	}
	if l := c.v.o.Logger; l.Enabled(c.v.hard, slog.LevelDebug) {
		l.Debug("connection ended", "listener", accept.Name(c.v.ln), "peer", c.nc.RemoteAddr().String(), "reason", err)
	}
}
