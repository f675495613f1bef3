package workerpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"linesplit/target"
)

// noLimit lets a model acknowledge or read everything.
const noLimit = math.MaxInt

// peer is a model of a target: a kernel with a receive buffer in front of an application. It
// acts only when it is called, so that a test decides what happens when. Set its fields before
// the first dial, or through set.
type peer struct {
	name string
	addr target.Address

	mu           sync.Mutex // guards the fields below, and those of its connections
	refuse       bool       // dials fail
	refusal      error      // why; nil: ECONNREFUSED
	hang         bool       // dials get no answer until their context ends
	succeedsLate bool       // with hang: the dial succeeds although its context has ended
	delay        time.Duration

	sendBuf  int    // bytes that our kernel takes beyond the acknowledged ones
	recvBuf  int    // bytes that the peer's kernel takes beyond those that were read
	margin   uint64 // of Progress.Read
	noCounts bool
	exact    bool // its kernel tells what is unread

	onAccept   func(c *peerConn) // called for each new connection
	holdReads  bool              // its application reads nothing
	holdAcks   bool              // its kernel acknowledges nothing
	ignoresFIN bool              // it never answers our FIN

	dials []time.Time
	conns []*peerConn
	fault []string // violations of the protocol of Conn
}

func newPeer(name string) *peer {
	return &peer{
		name:    name,
		addr:    target.Address{Scheme: target.SchemeTCP, Host: name + ":1"},
		sendBuf: 256 << 10,
		recvBuf: 256 << 10,
		margin:  1 << 40,
	}
}

// set changes the model and lets it act on the change.
func (p *peer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	for _, c := range p.conns {
		c.pump()
	}
}

func (p *peer) dial(ctx context.Context) (Conn, error) {
	p.mu.Lock()
	p.dials = append(p.dials, time.Now())
	refuse, hang, late, delay := p.refuse, p.hang, p.succeedsLate, p.delay
	refusal := cmp.Or(p.refusal, error(syscall.ECONNREFUSED))
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		if !late {
			return nil, ctx.Err()
		}
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if refuse {
		return nil, fmt.Errorf("dial %s: %w", p.name, refusal)
	}
	return p.accept(), nil
}

func (p *peer) accept() *peerConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &peerConn{peer: p, id: len(p.conns), events: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		ackLimit: noLimit, readLimit: noLimit}
	p.conns = append(p.conns, c)
	if p.onAccept != nil {
		p.onAccept(c)
	}
	return c
}

func (p *peer) dialled() int { return len(p.dialTimes()) }

func (p *peer) dialTimes() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.dials)
}

// conn returns the i-th connection, counted from the end if i is negative, or nil.
func (p *peer) conn(i int) *peerConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i < 0 {
		i += len(p.conns)
	}
	if i < 0 || i >= len(p.conns) {
		return nil
	}
	return p.conns[i]
}

// peerConn is one connection to a peer, seen from both ends. Its exported methods are those of
// Conn.
type peerConn struct {
	peer *peer
	id   int

	sent      []byte // what our kernel took
	writes    int    // in which it took something
	acked     int
	read      int // by the application, which has sent[:read]
	ackLimit  int // upper bound of acked
	readLimit int
	slow      time.Duration // duration of each write
	looks     int           // calls of Progress

	silentSince time.Time
	fin         bool // theirs
	afterOurs   bool
	halfClosed  bool // ours
	ourUnread   int
	finSent     int
	finAcked    int
	finUnread   int
	gone        bool // the process has ended after its FIN: its kernel answers data with a RST
	over        bool
	err         error
	closed      bool
	aborted     bool

	events chan struct{}
	wake   chan struct{}
}

func (c *peerConn) faultf(format string, args ...any) {
	c.peer.fault = append(c.peer.fault, fmt.Sprintf("%s[%d]: ", c.peer.name, c.id)+fmt.Sprintf(format, args...))
}

// pump lets kernel and application go as far as they may. Every change of a connection ends
// with it.
func (c *peerConn) pump() {
	before := c.acked
	for c.err == nil && !c.gone && !c.aborted && c.silentSince.IsZero() {
		acked, read := c.acked, c.read
		if !c.peer.holdAcks {
			c.acked = max(acked, min(len(c.sent), c.ackLimit, c.read+c.peer.recvBuf))
		}
		if !c.peer.holdReads {
			c.read = max(read, min(c.acked, c.readLimit))
		}
		if acked == c.acked && read == c.read {
			break
		}
	}
	if c.acked > before {
		signal(c.wake)
	}
	c.finish()
}

// finish ends a connection that we have half-closed once everything is read.
func (c *peerConn) finish() {
	if !c.halfClosed || c.over || c.err != nil || c.read < len(c.sent) || c.peer.ignoresFIN {
		return
	}
	if !c.fin {
		c.fin, c.afterOurs = true, true
	}
	c.over = true
	signal(c.events)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (c *peerConn) Write(p []byte, waiting func() error) (int, error) {
	n := 0
	time.Sleep(c.slow)
	for {
		k, err := c.take(p[n:])
		n += k
		if err != nil || n == len(p) {
			return n, err
		}
		select {
		case <-c.wake:
		case <-time.After(target.Tick):
			if err := waiting(); err != nil {
				return n, err
			}
		}
	}
}

func (c *peerConn) TryWrite(p []byte) (int, error) { return c.take(p) }

// take models one write(2).
func (c *peerConn) take(p []byte) (int, error) {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	switch {
	case c.closed:
		c.faultf("written to after it was closed")
		return 0, syscall.EBADF
	case c.halfClosed:
		c.faultf("written to after it was half-closed")
		return 0, syscall.EPIPE
	case c.err != nil:
		return 0, c.err
	}
	n := min(len(p), max(0, c.peer.sendBuf-(len(c.sent)-c.acked)))
	c.sent = append(c.sent, p[:n]...)
	if n > 0 {
		c.writes++
	}
	if c.gone {
		c.failLocked(syscall.ECONNRESET)
	}
	c.pump()
	return n, nil
}

func (c *peerConn) Progress() target.Progress {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	c.looks++
	unread := uint64(c.acked - c.read)
	p := target.Progress{
		Written:  uint64(len(c.sent)),
		FIN:      c.fin,
		Over:     c.over,
		Err:      c.err,
		AllRead:  c.allRead(),
		NoCounts: c.peer.noCounts,
	}
	if !c.silentSince.IsZero() {
		p.Silent = time.Since(c.silentSince)
	}
	if c.peer.noCounts {
		return p
	}
	p.Acked, p.Unread = uint64(c.acked), unread
	p.Read = p.Acked - min(p.Acked, c.peer.margin+2*unread)
	if c.peer.exact {
		p.Known = uint64(c.read)
		if p.Exact = c.err == nil; p.Exact {
			p.Read = p.Known
		}
	}
	return p
}

// allRead follows target.Conn.
func (c *peerConn) allRead() bool {
	switch {
	case !c.fin:
		return false
	case c.afterOurs && c.err == nil:
		return c.acked == len(c.sent)
	case c.err == nil:
		return c.halfClosed && c.over && c.ourUnread == 0 && c.acked == len(c.sent)
	}
	return c.finUnread == 0 && c.acked == c.finAcked && (c.halfClosed || len(c.sent) > c.finSent)
}

func (c *peerConn) Events() <-chan struct{} { return c.events }

func (c *peerConn) CloseWrite() error {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	if c.halfClosed || c.closed {
		c.faultf("half-closed twice, or after it was closed")
	}
	c.halfClosed, c.ourUnread = true, c.acked-c.read
	if c.gone {
		c.over = true
		signal(c.events)
	}
	c.pump()
	return nil
}

func (c *peerConn) Abort() {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	c.aborted = true
	c.close()
}

// Close must not come before the application has everything: the caller no longer watches the
// connection.
func (c *peerConn) Close() {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	if c.read < len(c.sent) {
		c.faultf("closed with %d of %d bytes read", c.read, len(c.sent))
	}
	c.close()
}

func (c *peerConn) close() {
	if c.closed {
		c.faultf("closed twice")
	}
	c.closed = true
}

// do changes one connection and lets it act on the change.
func (c *peerConn) do(change func()) {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	change()
	c.pump()
}

// ackTo lets the kernel acknowledge, and the application read, up to these positions.
func (c *peerConn) ackTo(acked, read int) {
	c.do(func() { c.ackLimit, c.readLimit = acked, read })
}

// reset is the peer's RST: the application never gets what it has not read.
func (c *peerConn) reset() { c.do(func() { c.failLocked(syscall.ECONNRESET) }) }

var errReset error = syscall.ECONNRESET

func (c *peerConn) failLocked(err error) {
	if c.err != nil || c.over || c.closed {
		return
	}
	c.err = err
	signal(c.wake)
	signal(c.events)
}

// sendFIN is the peer's half-close: it may read on. After our FIN it is an answer and comes
// when everything is read; see finish.
func (c *peerConn) sendFIN() { c.do(c.finLocked) }

func (c *peerConn) finLocked() {
	if c.fin || c.err != nil || c.closed || c.halfClosed && c.read < len(c.sent) {
		return
	}
	c.fin, c.afterOurs = true, c.halfClosed
	c.finSent, c.finAcked, c.finUnread = len(c.sent), c.acked, c.acked-c.read
	signal(c.events)
}

// exit ends the peer's process: with a RST if data is unread, else with a FIN.
func (c *peerConn) exit() {
	c.do(func() {
		if c.read < c.acked {
			c.failLocked(syscall.ECONNRESET)
			return
		}
		c.finLocked()
		c.gone = true
		if c.acked < len(c.sent) {
			c.failLocked(syscall.ECONNRESET)
		} else if c.halfClosed {
			c.over = true
			signal(c.events)
		}
	})
}

// vanish cuts the network: nothing is answered any more.
func (c *peerConn) vanish() { c.do(func() { c.silentSince = time.Now() }) }

// state returns a copy of a connection, empty for nil.
func (c *peerConn) state() peerConn {
	if c == nil {
		return peerConn{}
	}
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	return peerConn{peer: c.peer, id: c.id, sent: c.sent, writes: c.writes, acked: c.acked, read: c.read, fin: c.fin,
		halfClosed: c.halfClosed, err: c.err, over: c.over, closed: c.closed, aborted: c.aborted, looks: c.looks}
}

var errNoSuchPeer = errors.New("no such peer")

func dialPeers(peers []*peer) Dial {
	return func(ctx context.Context, a target.Address) (Conn, error) {
		for _, p := range peers {
			if p.addr.String() == a.String() { // weights may have changed
				return p.dial(ctx)
			}
		}
		return nil, errNoSuchPeer
	}
}
