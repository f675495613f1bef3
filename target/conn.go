package target

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Tick is how often at least a blocked [Conn.Write] calls its waiting function.
const Tick = 125 * time.Millisecond

// maxRecord is the most plaintext that one TLS record holds (RFC 8446, 5.1).
const maxRecord = 16 << 10

// maxBatch is how many bytes of lines are encrypted before they go out in one write.
const maxBatch = 4 * maxRecord

// Conn is one outbound connection that knows what its peer has confirmed. One goroutine writes
// and half-closes; Progress, Abort and Close may be called from any. A goroutine of its own reads
// from the connection, below TLS, throws away what comes, and sees the peer's FIN and RST at
// once.
type Conn struct {
	raw      net.Conn // *net.TCPConn or *net.UnixConn
	sys      syscall.RawConn
	unix     bool
	viaProxy bool
	margin   uint64
	retain   uint64

	secure *tls.Conn // nil: plain
	wire   *wire     // what secure writes to and reads from

	deadline time.Time // of raw's writes; the writing goroutine's
	plain    uint64    // bytes of lines handed to Write; the writing goroutine's
	sent     atomic.Uint64
	// sent counts the bytes that the kernel took, on the wire. The writing goroutine adds after
	// each write: another goroutine may see too little, which makes it underestimate what was
	// acknowledged, never overestimate.

	events chan struct{}
	reader sync.WaitGroup

	mu         sync.Mutex // guards what follows; never held while waiting for the network
	look       func(fd uintptr)
	counts     kernelCounts
	countErr   error
	records    records
	estimate   estimator
	silence    silence
	silent     time.Duration
	ackedWire  uint64
	written    uint64 // lines' position that sent corresponds to
	halfClosed bool   // by us
	saying     bool   // close_notify is going out: a peer that has read it may answer before we have sent our FIN
	end        ending
}

// ending is how a connection came to its end.
type ending struct {
	goodbye   bool  // TLS close_notify came
	fin       bool  // the peer's FIN came
	closed    bool  // after the FIN, the socket reached CLOSE
	err       error // the connection failed
	afterOurs bool  // the FIN came after our own
	allRead   bool  // by the estimate, when we half-closed
}

func newConn(raw net.Conn, o *Options, viaProxy bool) (*Conn, error) {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", raw)
	}
	sys, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	_, isUnix := raw.(*net.UnixConn)
	c := &Conn{raw: raw, sys: sys, unix: isUnix, viaProxy: viaProxy, margin: uint64(o.Margin), retain: uint64(o.Retain), events: make(chan struct{}, 1)}
	c.estimate.rest.stretch = min(restStretch, c.retain/restShare)
	c.look = c.lookAt
	return c, nil
}

// Write hands p, whole lines, to the connection and returns how many bytes of it may have reached
// the peer. It blocks while the peer takes no more, and then calls waiting at least twice per
// Tick-and-a-half; when that returns an error, Write returns it. p belongs to the caller again on
// return: what must be kept for sending again is the caller's matter.
func (c *Conn) Write(p []byte, waiting func() error) (int, error) {
	if c.secure != nil {
		return c.writeRecords(p, waiting)
	}
	n, err := c.push(p, waiting)
	c.plain += uint64(n)
	c.setWritten(c.plain)
	return n, err
}

// writeRecords encrypts in batches: one Write of at most 16 KiB to crypto/tls is one record,
// because dynamic record sizing is off. The records go to memory and from there to the socket, so
// that TLS never waits for the network and a write that was interrupted can go on where it
// stopped.
func (c *Conn) writeRecords(p []byte, waiting func() error) (int, error) {
	var n int
	for n < len(p) {
		batch := p[n:min(n+maxBatch, len(p))]
		if err := c.encrypt(batch); err != nil {
			return n, c.fail(fmt.Errorf("encrypt: %w", err))
		}
		n += len(batch)
		if err := c.flush(waiting); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *Conn) encrypt(p []byte) error {
	for len(p) > 0 {
		size := min(len(p), maxRecord)
		if _, err := c.secure.Write(p[:size]); err != nil {
			return err
		}
		c.plain += uint64(size)
		c.mu.Lock()
		c.records.add(c.plain, c.wire.position())
		c.written = c.plain
		c.mu.Unlock()
		p = p[size:]
	}
	return nil
}

// flush sends what TLS has produced.
func (c *Conn) flush(waiting func() error) error {
	out := c.wire.take()
	_, err := c.push(out, waiting)
	c.wire.giveBack(out)
	return err
}

// push writes p to the socket. The deadline is only there to call waiting from time to time; it
// is renewed once per Tick and not for every write.
func (c *Conn) push(p []byte, waiting func() error) (int, error) {
	var n int
	for n < len(p) {
		c.renewDeadline()
		k, err := c.raw.Write(p[n:])
		n += k
		c.sent.Add(uint64(k))
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, c.fail(err)
		}
		c.setWritten(c.plain + uint64(n))
		if err := waiting(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *Conn) renewDeadline() {
	now := time.Now()
	if c.deadline.Sub(now) >= Tick/2 {
		return
	}
	c.deadline = now.Add(Tick)
	c.raw.SetWriteDeadline(c.deadline) // fails only on a closed connection, as the write that follows does
}

// setWritten tells Progress where a plain connection stands; with TLS the records do.
func (c *Conn) setWritten(position uint64) {
	if c.secure != nil {
		return
	}
	c.mu.Lock()
	c.written = position
	c.mu.Unlock()
}

// fail records why the connection is of no more use and returns that reason.
func (c *Conn) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failLocked(err)
}

func (c *Conn) failLocked(err error) error {
	if c.end.err == nil {
		c.end.err = err
	}
	return c.end.err
}

// Events delivers a value after the peer's FIN, a failure, or the end of a half-closed
// connection: a reason to call Progress. It is never closed.
func (c *Conn) Events() <-chan struct{} { return c.events }

func (c *Conn) notify() {
	select {
	case c.events <- struct{}{}:
	default:
	}
}

// Progress asks the kernel and returns what is known now.
func (c *Conn) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.countLocked(now)
	acked := min(c.ackedLinesLocked(), c.written)
	return Progress{
		Written:         c.written,
		Acked:           acked,
		Read:            min(c.readLocked(), acked),
		Unread:          c.estimate.unread,
		Hidden:          c.hiddenLocked(),
		Rising:          c.estimate.rise() > 0,
		WindowRecovered: c.estimate.rest.reached(),
		WindowStable:    c.estimate.rest.still(),
		NoCounts:        !countsKept,
		Silent:          c.silent,
		FIN:             c.end.fin || c.end.goodbye,
		Err:             c.end.err,
		Over:            c.end.closed && c.end.err == nil,
		AllRead:         c.provenLocked(),

		RoundTrip: c.counts.roundTrip,
	}
}

// countLocked looks at the socket. Where it cannot, the last look stands.
func (c *Conn) countLocked(now time.Time) {
	if !countsKept {
		return
	}
	sent := c.sent.Load() // before the look: what a write adds after it would seem acknowledged
	if err := c.sys.Control(c.look); err != nil || c.countErr != nil {
		return
	}
	if c.unix {
		c.judgeUnixLocked(sent)
	} else {
		c.judgeTCPLocked(sent, now)
	}
}

func (c *Conn) judgeTCPLocked(sent uint64, now time.Time) {
	c.ackedLocked(less(sent, c.counts.unacked))
	if c.counts.hasWindow {
		c.estimate.see(c.counts.window, c.ackedWire, now.Add(-c.counts.lastAckSeen), now)
	}
	c.silent = c.silence.see(c.counts, now)
}

// judgeUnixLocked takes the count while it is true. After a hang-up that is so unless the peer
// closed with data unread, which leaves an error on the socket; but before the reading goroutine
// has seen the end of file it may have taken that error away.
func (c *Conn) judgeUnixLocked(sent uint64) {
	sawEOF := c.end.fin && c.end.err == nil
	if !c.counts.closed || sawEOF && !c.counts.reset {
		c.ackedLocked(less(sent, c.counts.unacked))
	}
	c.estimate.unread = sent - c.ackedWire
}

func (c *Conn) ackedLocked(wire uint64) { c.ackedWire = max(c.ackedWire, wire) }

// lookAt is what Control calls; it is kept in look so that a look allocates nothing.
func (c *Conn) lookAt(fd uintptr) {
	if c.unix {
		c.counts, c.countErr = countUnix(int(fd))
		return
	}
	c.counts, c.countErr = countTCP(int(fd))
}

func (c *Conn) ackedLinesLocked() uint64 {
	if c.secure != nil {
		return c.records.ackedAt(c.ackedWire)
	}
	return c.ackedWire
}

// readLocked returns how far the peer's application has read for all that is known. Behind a
// proxy nothing is known, on a Unix socket it is exact.
func (c *Conn) readLocked() uint64 {
	switch {
	case c.unix:
		return c.ackedWire
	case c.viaProxy || !c.estimate.known:
		return c.readAtLocked(less(c.ackedWire, c.retain))
	}
	distance := min(c.estimate.distance(c.margin), max(c.retain, c.margin))
	return c.readAtLocked(less(c.ackedWire, distance))
}

func (c *Conn) hiddenLocked() uint64 {
	if c.unix && countsKept {
		return 0
	}
	return hidden(c.counts.segment)
}

func (c *Conn) readAtLocked(wire uint64) uint64 {
	if c.secure != nil {
		return c.records.readAt(wire)
	}
	return wire
}

func less(a, b uint64) uint64 { return a - min(a, b) }

// provenLocked decides whether everything acknowledged was also read. Only an end that both sides
// brought about in order proves that over TCP: a FIN that answers ours, or one that came first,
// with everything read by the estimate when we sent ours. A FIN with a RST behind it should mean
// that the peer closed with everything read; but a run under heavy load lost lines that way, and
// sending twice is the smaller evil.
func (c *Conn) provenLocked() bool {
	e := &c.end
	switch {
	case !countsKept:
		return e.fin && e.afterOurs && e.err == nil
	case c.unix:
		return true // what counts as acknowledged there has been read
	case e.err != nil || !e.fin || !c.halfClosed || c.ackedWire < c.sent.Load():
		return false
	case e.afterOurs:
		return true
	}
	return !c.viaProxy && e.closed && e.allRead && c.estimate.known
}

// CloseWrite ends our direction after all that was written: close_notify, if it can go out
// without waiting, and a FIN. The peer may go on reading; Progress tells when it has answered.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	c.countLocked(time.Now())
	c.end.allRead = c.estimate.allRead()
	c.saying = c.secure != nil
	c.mu.Unlock()
	said := c.secure == nil || c.sayGoodbye()
	c.mu.Lock()
	if !said { // what came meanwhile was no answer
		c.end.afterOurs = false
	}
	c.saying, c.halfClosed = false, true
	c.mu.Unlock()
	hc, ok := c.raw.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return hc.CloseWrite()
}

// errNoRoom is what the goodbye says to a socket that takes no more.
var errNoRoom = errors.New("no room in the send buffer")

// sayGoodbye says whether close_notify has gone out. What does not go out at once is not worth
// waiting for: the FIN follows.
func (c *Conn) sayGoodbye() bool {
	return c.secure.CloseWrite() == nil && c.flush(func() error { return errNoRoom }) == nil
}

// Abort closes the connection with a RST and throws away what the kernel has not sent: it is
// being sent elsewhere.
func (c *Conn) Abort() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// Close closes the socket, never waiting for TLS, and returns when the reading goroutine has ended.
func (c *Conn) Close() {
	c.raw.Close()
	c.reader.Wait()
}

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the address that was dialled.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }
