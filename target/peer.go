package target

import (
	"errors"
	"time"
)

// peerQuery asks the kernel how many bytes the peer's socket holds unread. It finds the socket with
// its first answer and never answers for another one. An error that wraps errPeerGone is final.
type peerQuery interface {
	unread() (uint64, error)
}

var errPeerGone = errors.New("the peer's socket is gone")

const (
	// lookupTries is the number of failed questions in a row after which a lookup ends for good.
	// A server that defers its accept has no established socket before the first data.
	lookupTries = 3
	// lookupSeldom is the time between two looks from which on a look asks twice.
	lookupSeldom = 10 * time.Millisecond
	// slackTLS is how many bytes the peer's TLS may have read and not handed on to its
	// application. TLS in the kernel takes one record at a time; Go's crypto/tls, which reads
	// ahead, was seen to hold 37 KB.
	slackTLS = 64 << 10
)

// peerLookup knows what the peer has read, while the kernel answers for the peer's socket. The zero
// value never asks.
//
// The kernel answers without locking the socket. A socket that is torn down leaves the table of
// connections first and counts everything as read next, so an answer may be wrong although the
// socket was found. An answer therefore counts only once a later one has found the same socket:
// that is the next look's. Looks that come seldom ask twice.
type peerLookup struct {
	query   peerQuery // nil: not asked any more
	exact   bool      // the last look was answered, or the answers have ended with the peer's socket
	retry   bool      // a failure ends the lookup only after lookupTries
	misses  int       // failures since the last answer
	askedAt time.Time
	pending uint64 // wire position read, by the last answer; not proven yet
	read    uint64 // proven wire position
}

// see records a look. acked must be an acknowledged wire position from before the call: what the
// peer's kernel has is then never less.
func (l *peerLookup) see(acked uint64, now time.Time) {
	if l.query == nil || !l.ask(acked) {
		return
	}
	if l.pending > l.read && now.Sub(l.askedAt) >= lookupSeldom {
		l.ask(acked)
	}
	l.askedAt = now
}

func (l *peerLookup) ask(acked uint64) bool {
	unread, err := l.query.unread()
	l.exact = err == nil
	if errors.Is(err, errPeerGone) {
		l.end()
		return false
	}
	if err != nil {
		if l.misses++; !l.retry || l.misses >= lookupTries {
			l.stop()
		}
		return false
	}
	l.misses = 0
	l.read = max(l.read, l.pending)
	l.pending = less(acked, unread)
	return true
}

// stop ends the lookup of a peer that may go on reading, which the estimate judges from then on.
// What the lookup has proven stays true.
func (l *peerLookup) stop() { l.query, l.exact = nil, false }

// end ends the lookup of a peer that reads nothing more, because its socket or ours is gone. If
// there was an answer, what it has proven is all that is known to be read, and an estimate would
// only guess beyond it.
func (l *peerLookup) end() {
	if l.query != nil {
		l.query, l.exact = nil, !l.askedAt.IsZero()
	}
}

// lookUpPeer begins to ask about the peer's socket. With TLS a failure is final: the records that
// the estimate counts as read are forgotten.
func (c *Conn) lookUpPeer() {
	if c.unix || c.viaProxy {
		return
	}
	c.peer.query = newPeerQuery(c.raw, c.sys)
	c.peer.retry = c.secure == nil
	if c.secure != nil {
		c.peerSlack = slackTLS
	}
}

// askPeerLocked updates what the peer is known to have read. Where BPF moves bytes from socket to
// socket, TCP does not count them, and the lookup would not either.
func (c *Conn) askPeerLocked(now time.Time) {
	switch {
	case c.counts.tcpAcked < c.ackedWire:
		c.peer.stop()
	case c.counts.closed:
		c.peer.end()
	}
	c.peer.see(c.ackedWire, now)
	if c.peer.exact {
		c.known = max(c.known, c.readAtLocked(less(c.peer.read, c.peerSlack)))
	}
}

func (c *Conn) unreadLocked() uint64 {
	if c.peer.exact {
		return c.ackedWire - c.peer.read
	}
	return c.estimate.unread
}

// seemsReadLocked returns whether the peer has read everything that was sent, as far as known.
func (c *Conn) seemsReadLocked() bool {
	if c.peer.exact {
		return c.peer.read >= c.sent.Load()
	}
	return c.estimate.seemsRead()
}
