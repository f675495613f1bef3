package target

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"linesplit/internal/stranger"
)

// A blocked [Conn.Write] calls its waiting function at least once per Tick.
const Tick = 125 * time.Millisecond

// maxRecord is the maximum plaintext of one TLS record, in bytes (RFC 8446, 5.1).
const maxRecord = 16 << 10

// maxBatch is the maximum number of bytes of lines that are encrypted before they go out in one
// write.
const maxBatch = 4 * maxRecord

// Conn is one outbound connection that knows what its peer has acknowledged and read. One goroutine
// at a time writes and half-closes; Progress, Abort and Close are safe for concurrent use. Another
// goroutine of the Conn reads from the connection, below TLS, discards what arrives, and sees the
// peer's FIN and RST at once.
type Conn struct {
	raw      net.Conn // *net.TCPConn or *net.UnixConn
	sys      syscall.RawConn
	unix     bool
	viaProxy bool
	margin   uint64
	retain   uint64

	secure *tls.Conn // nil without TLS
	wire   *wire     // the connection below secure

	deadline time.Time // of raw's writes; only the writing goroutine uses it
	plain    uint64    // bytes of lines given to Write or TryWrite; only the writing goroutine uses it
	direct   direct    // the write of TryWrite; only the writing goroutine uses it

	// sent counts the bytes on the wire that the kernel has taken. The writing goroutine adds to it
	// after each write. Another goroutine may therefore read too low a count, and then
	// underestimates what was acknowledged; it never overestimates.
	sent atomic.Uint64

	events chan struct{}  // see Events
	reader sync.WaitGroup // the reading goroutine

	mu                 sync.Mutex       // guards the fields below; never held while waiting for the network
	look               func(fd uintptr) // lookAt, stored so that Control allocates nothing
	counts             kernelCounts     // as of the last look
	countErr           error
	records            records // TLS only
	estimate           estimator
	silence            silence
	peer               peerLookup
	peerSlack          uint64 // bytes that the peer's TLS may have read and not handed on
	known              uint64 // see Progress.Known
	silent             time.Duration
	ackedWire          uint64 // acknowledged bytes on the wire
	written            uint64 // plaintext position that corresponds to sent
	halfClosed         bool   // by CloseWrite
	sendingCloseNotify bool   // a peer that reads close_notify may answer with its FIN before ours is sent
	end                ending
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
	c := &Conn{
		raw:      raw,
		sys:      sys,
		unix:     isUnix,
		viaProxy: viaProxy,
		margin:   uint64(o.Margin),
		retain:   uint64(o.Retain),
		events:   make(chan struct{}, 1),
	}
	c.estimate.stability.span = min(maxSpan, c.retain/spanShare)
	c.look = c.lookAt
	c.direct.init()
	return c, nil
}

// Write gives p, whole lines, to the connection and returns how many bytes of it may have reached
// the peer. While the peer takes no more it blocks, and calls waiting at least once per Tick; when
// waiting returns an error, Write returns that error. Write does not keep p: the caller keeps what
// may have to be sent again.
func (c *Conn) Write(p []byte, waiting func() error) (int, error) {
	if c.secure != nil {
		return c.writeRecords(p, waiting)
	}
	n, err := c.push(p, waiting)
	c.plain += uint64(n)
	c.setWritten(c.plain)
	return n, err
}

// writeRecords encrypts in batches. One Write of at most 16 KiB to crypto/tls makes one record,
// because dynamic record sizing is off. The records go to memory and from there to the socket, so
// that TLS never waits for the network and an interrupted write can go on where it stopped.
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

// flush sends the bytes that TLS has produced.
func (c *Conn) flush(waiting func() error) error {
	out := c.wire.take()
	_, err := c.push(out, waiting)
	c.wire.giveBack(out)
	return err
}

// push writes p to the socket. The write deadline only serves to call waiting regularly; push
// renews it once per Tick and not for every write.
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

// setWritten sets the position that Progress reports as written for a connection without TLS; with
// TLS, encrypt sets it.
func (c *Conn) setWritten(position uint64) {
	if c.secure != nil {
		return
	}
	c.mu.Lock()
	c.written = position
	c.mu.Unlock()
}

// fail records why the connection has failed and returns the first such error.
func (c *Conn) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failLocked(err)
}

func (c *Conn) failLocked(err error) error {
	if c.end.err == nil {
		if len(c.end.said) > 0 {
			err = fmt.Errorf("%w; it said %s", err, stranger.Quote(c.end.said))
			if bytes.HasPrefix(c.end.said, []byte("HTTP/")) {
				err = fmt.Errorf("%w: write http:// or https:// to send it lines in requests", err)
			}
		}
		c.end.err = err
	}
	return c.end.err
}

// Events returns a channel that receives a value after the peer's FIN, a failure, or the end of a
// half-closed connection, as a signal to call Progress. It is never closed.
func (c *Conn) Events() <-chan struct{} { return c.events }

func (c *Conn) notify() {
	select {
	case c.events <- struct{}{}:
	default:
	}
}

// Progress asks the kernel and returns the present state of the connection.
func (c *Conn) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.countLocked(now)
	c.knowRefusedLocked()
	acked, exact := min(c.ackedLinesLocked(), c.written), c.peer.exact
	return Progress{
		Written:         c.written,
		Acked:           acked,
		Read:            min(c.readLocked(), acked),
		Known:           min(c.known, acked),
		Exact:           exact,
		Unread:          c.unreadLocked(),
		Hidden:          c.hiddenLocked(),
		Rising:          !exact && c.estimate.rise() > 0,
		WindowRecovered: !exact && c.estimate.stability.recovered(),
		WindowStable:    c.estimate.stability.stable(),
		NoCounts:        !countsKept,
		Silent:          c.silent,
		FIN:             c.end.fin || c.end.closeNotify,
		Err:             c.end.err,
		Over:            c.end.closed && c.end.err == nil,
		AllRead:         c.allReadLocked(),
		RoundTrip:       c.counts.roundTrip,
	}
}

// countLocked updates the counts from the socket. If the kernel returns an error, the previous
// counts stay.
func (c *Conn) countLocked(now time.Time) {
	if !countsKept {
		return
	}
	sent := c.sent.Load() // before the look: bytes that a write adds after it would seem acknowledged
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
	c.askPeerLocked(now)
}

// judgeUnixLocked uses the kernel's count only while it is true. After a hang-up it is true unless
// the peer closed with data unread, which leaves an error on the socket; but until the reading
// goroutine has seen the end of file, it may have taken that error away.
func (c *Conn) judgeUnixLocked(sent uint64) {
	sawEOF := c.end.fin && c.end.err == nil
	if !c.counts.closed || sawEOF && !c.counts.reset {
		c.ackedLocked(less(sent, c.counts.unacked))
	}
	c.estimate.unread = sent - c.ackedWire
}

func (c *Conn) ackedLocked(wire uint64) { c.ackedWire = max(c.ackedWire, wire) }

// lookAt reads the counts of the socket fd.
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

// readLocked returns how far the peer's application has read, by all evidence. Behind a proxy there
// is none; over a Unix socket it is certain, and while the kernel answers for the peer's socket.
func (c *Conn) readLocked() uint64 {
	switch {
	case c.unix:
		return c.ackedWire
	case c.peer.exact:
		return c.known
	case c.viaProxy || !c.estimate.known:
		return c.readAtLocked(less(c.ackedWire, c.retain))
	}
	distance := min(c.estimate.distance(c.margin), max(c.retain, c.margin))
	return c.readAtLocked(less(c.ackedWire, distance))
}

func (c *Conn) hiddenLocked() uint64 {
	if c.unix && countsKept || c.peer.exact {
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

// Abort closes the connection with a RST and discards what the kernel has not sent: the caller
// sends it elsewhere.
func (c *Conn) Abort() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// Close closes the socket without waiting for TLS, and returns when the reading goroutine has
// ended.
func (c *Conn) Close() {
	c.raw.Close()
	c.reader.Wait()
}

// LocalAddr returns the local address of the connection.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the address that was dialled.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }
