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
	"linesplit/linebuf"
)

// conn is one inbound connection. Only its goroutine, or its event loop, touches it; comments on
// fields name the exceptions.
//
// While it waits for bytes it has no buffer, or one just large enough for its unfinished line, and
// few and small stack frames: thousands of idle connections cost a few kilobytes each.
type conn struct {
	v      *serving
	nc     net.Conn
	raw    net.Conn // nc, or the connection below its TLS; closed in place of nc, so that nothing is written
	secure bool     // nc speaks TLS
	read   func() (int, error)
	lines  lineRules

	outlet Outlet
	buf    *linebuf.Buffer // begins with the unfinished line; nil if there is none
	size   int             // of the next buffer
	filled bool            // the last read filled its buffer
	inGate bool            // holds a place in Splitter.gate

	timed     bool // see isTimed
	activity  activity
	datagrams bool // carries the datagrams of many senders
	sniffing  bool // see sniff

	viaFD fdReader
	held  heldReader
	loop  *looped // nil if a goroutine reads the connection

	lapsed  bool      // the last read ended at its deadline
	readOut time.Time // when reading the rest ends; zero until the connection is cut off

	requested atomic.Bool // run calls handleRequests before the next read

	mu         sync.Mutex
	cut        bool   // Tuning.Drain has passed, or a timeout
	timedOut   error  // the timeout, if one has passed
	halfClosed bool   // the sender has been sent a FIN
	shaking    bool   // the TLS handshake is in progress
	cancel     func() // ends the wait for a buffer; nil if there is no wait

	since    time.Time
	received linebuf.AtomicCount // complete lines and all bytes read, for Connections; written by the goroutine

	fresh   int          // bytes that have come since the line last made headway
	charge  atomic.Int64 // bytes that budget charges for the unfinished line; written by the goroutine
	spare   atomic.Int64 // those of them that a smaller buffer would save; written by the goroutine
	headway atomic.Int64 // when the line last made headway, see budget; written by the goroutine
	asked   atomic.Bool  // budget wants memory back
	listed  atomic.Bool  // in budget.idlest, or asked; guarded by budget.mu for writing
	inFront atomic.Bool  // before all that are not in budget.idlest; guarded by budget.mu for writing
	key     int64        // guarded by budget.mu: headway, or an earlier value of it
	at      int          // guarded by budget.mu: the index in budget.idlest, -1 outside it
	leaving int64        // guarded by budget.mu: the bytes asked for

	id         uint64 // registry sets it, once
	prev, next *conn  // guarded by registry.mu
}

var (
	errCutOff  = errors.New("cut off: the drain ended")
	errTooLong = errors.New("closed: a line is too long")
)

func newConn(v *serving, nc net.Conn) *conn {
	set := v.tuned()
	c := &conn{v: v, nc: nc, raw: nc, size: v.o.ReadSize, since: time.Now(), at: -1,
		outlet: v.o.Outlet()}
	_, c.datagrams = nc.RemoteAddr().(*net.UDPAddr)
	c.sniffing = true
	c.lines = lineRules{max: set.MaxLine, policy: c.policy(set)}
	c.raw = below(nc)
	c.timed = isTimed(nc)
	c.noteRead(c.since)
	_, c.secure = nc.(*tls.Conn)
	c.shaking = c.secure
	if c.loop = onLoop(nc); c.loop == nil && !c.viaFD.init(c) {
		c.read = c.readHeld
		c.held.small = make([]byte, smallRead)
	}
	return c
}

// serve is the goroutine of the connection.
func (c *conn) serve() {
	err := c.handshake()
	if err == nil {
		err = c.run()
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
		c.leaveGate()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.lapsed = true
		default:
			return err
		}
	}
}

// take processes n bytes that have been read into c.buf, behind its content.
func (c *conn) take(n int) error {
	now := time.Now()
	b := c.buf
	from := len(b.B)
	c.adapt(n, cap(b.B)-from)
	b.B = b.B[:from+n]

	if c.sniffing {
		c.sniff(b.B, from)
	}
	r := c.applyRules(b.B, from)
	c.countCut(&r)
	c.received.Add(linebuf.Count{Lines: r.allLines(), Bytes: uint64(n)})
	b.B = b.B[:r.whole+r.rest]
	c.measure(n, r.whole > 0, now)
	c.noteRead(now)
	if r.whole > 0 {
		whole := c.separate(r.whole)
		c.discharge()
		if err := c.send(whole, r.lines, now); err != nil {
			return err
		}
	}
	if r.close {
		return errTooLong
	}
	c.account()
	c.noteLine(r.whole > 0)
	return nil
}

// applyRules cuts b, and switches to new rules if the tuning has changed.
func (c *conn) applyRules(b []byte, from int) cut {
	set := c.v.tuned()
	if policy := c.policy(set); set.MaxLine != c.lines.max || policy != c.lines.policy {
		return c.lines.change(set.MaxLine, policy, b, from)
	}
	return c.lines.cut(b, from)
}

// policy returns the policy for lines that are too long. A connection that carries the datagrams of
// many senders is not closed for the fault of one of them.
func (c *conn) policy(set *Tuning) Oversize {
	if c.datagrams && set.Oversize == Close {
		return Drop
	}
	return set.Oversize
}

// separate returns a buffer with the first whole bytes of c.buf, and leaves the rest to the
// connection. It copies few bytes out of a large buffer, since otherwise they would hold all of its
// memory until they are confirmed.
func (c *conn) separate(whole int) *linebuf.Buffer {
	full, pool := c.buf, c.v.pool
	rest := full.B[whole:]
	if whole < len(rest) || 4*linebuf.ClassSize(whole) <= cap(full.B) {
		part := pool.TryGet(whole)
		if part == nil && whole < len(rest) {
			part = pool.MustGet(whole) // one of the two has to be copied
		}
		if part != nil {
			part.B = append(part.B, full.B[:whole]...)
			full.B = full.B[:copy(full.B, rest)]
			return part
		}
	}
	c.buf = nil
	if len(rest) > 0 {
		c.buf = c.bufferFor(rest)
		c.buf.B = append(c.buf.B, rest...)
	}
	full.B = full.B[:whole]
	return full
}

// smallRest is the largest start of a line, in bytes, that is carried in a buffer of its own size.
// Copying it once more costs nothing, and a thousand busy senders that wait for their turn do not
// hold a read buffer each.
const smallRest = 4 << 10

// bufferFor returns a buffer to carry rest in. It has room for the next read if rest is long and
// there is probably more to read at once.
func (c *conn) bufferFor(rest []byte) *linebuf.Buffer {
	pool := c.v.pool
	if c.filled && len(rest) > smallRest {
		if b := pool.TryGet(c.want(len(rest))); b != nil {
			return b
		}
	}
	return pool.MustGet(len(rest))
}

// send hands b over, to the outlet or the channel. While the channel is full it waits, which holds
// back the sender. On a loop, b is kept instead until a goroutine waits.
func (c *conn) send(b *linebuf.Buffer, lines int, read time.Time) error {
	b.Lines, b.Read = lines, read
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
	n := countOf(b)
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
	n := countOf(b)
	if !c.sendSlowly(b) {
		c.countDrop(reasonShutdown, n, nil)
		c.v.pool.Put(b)
		return net.ErrClosed
	}
	c.v.counters.queue(n)
	return nil
}

// countOf counts the lines of b, which has another owner once it is sent.
func countOf(b *linebuf.Buffer) linebuf.Count {
	return linebuf.Count{Lines: uint64(b.Lines), Bytes: uint64(len(b.B))}
}

// finish ends the connection. A last line without a newline gets one at a clean end; if the
// connection broke, the line is dropped as torn.
func (c *conn) finish(err error) {
	c.leaveGate()
	if rest := c.carried(); rest > 0 {
		if err == io.EOF {
			c.completeLast(rest)
		} else {
			c.countDrop(reasonTorn, linebuf.Count{Lines: 1, Bytes: uint64(rest)}, err)
		}
	}
	c.v.pool.Put(c.buf)
	c.buf = nil
	c.goQuiet()
	c.account()
	c.v.budget.forget(c)
	if err == errCutOff || err != io.EOF && c.v.hard.Err() != nil {
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

func (c *conn) completeLast(rest int) {
	if rest == cap(c.buf.B) { // data that came together with io.EOF may have filled it
		c.replace(c.v.pool.MustGet(rest + 1))
	}
	b := c.buf
	c.buf = nil
	b.B = append(b.B, '\n')
	b.Lines, b.Read = 1, time.Now()
	if !c.trySend(b) {
		c.sendWaiting(b)
	}
}
