package delivery

import (
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// halfCloserWithin is the rule for half-closers: a FIN within this time after the connection's
// start means that the target never writes, and not that it is going away. NotHalfCloserFor is
// the exception.
const halfCloserWithin = time.Second

// NotHalfCloserFor is the time for which a connection that outlived halfCloserWithin proves
// that its target is no half-closer. A target that becomes one is reconnected to again and
// again for this long.
const NotHalfCloserFor = 3 * time.Second

// outConn is one connection in use, with its window and its progress as of the last look. Its
// machine owns it.
type outConn struct {
	conn     Conn
	batcher  Batcher // conn, or nil
	backend  *Backend
	since    time.Time // when it was established
	used     time.Time // when the machine began to use it
	renewal  renewal
	window   window
	reported linebuf.Count // the part of backend.retained that is this window's

	sent         linebuf.Count // lines written, whole or in part
	writing      linebuf.Count // lines of the write under way
	countedSent  linebuf.Count // the part of backend.sent that is this connection's
	countedAcked linebuf.Count // the same of backend.acknowledged

	stuckAfter time.Duration
	next       uint64        // position behind the last segment given to conn
	probe      uint64        // position up to which it may be written to although it is full
	fullSince  time.Time     // zero: it is not full
	openedIn   time.Duration // how long the window was full the last time

	seen         target.Progress
	seenAt       time.Time  // when the last look was
	memAtLook    int64      // memory of the window after it
	ackedAt      time.Time  // when data was last acknowledged, or none was outstanding
	fromRest     bool       // nothing was outstanding when the last write began; see noteBegun
	readTo       uint64     // the greatest surelyRead
	lastProgress time.Time  // when readTo last grew
	ageHistory   ackHistory // over -resend-age
	confirmed    bool       // some of its lines were
	stuck        bool
	exact        bool          // counted in backend.exact
	rejected     linebuf.Count // lines that the target has refused, as far as they are counted
	stalled      bool          // counted as a stall
	allStalled   bool          // in the present stall, all other targets have stalled, too
	hung         time.Duration // part of the present stall that counts; see countHang
	ending       bool          // it is to be left
	endingAt     time.Time
	ignoreFIN    bool // the peer is a half-closer, whose FIN means nothing
	halfClosed   bool // by us
}

// newOutConn wraps a connection that has joined its backend and is used from now on. It was
// established at since, and may have waited for the end of a write.
func newOutConn(c Conn, b *Backend, since, now time.Time) *outConn {
	b.inUse.Add(1)
	batcher, _ := c.(Batcher)
	return &outConn{conn: c, batcher: batcher, backend: b, since: since, used: now, ackedAt: now}
}

// begin adds s to the window as the segment that is written next.
func (c *outConn) begin(s segment) {
	c.fromRest = c.arrived() == c.next
	c.next += uint64(s.len())
	s.end = c.next
	c.window.push(s)
	c.writing = s.count()
}

// noteBegun notes when a write has begun with nothing outstanding: a stall counts from then on, and
// not from the last look, which may be a second old.
func (c *outConn) noteBegun(now time.Time) {
	if c.fromRest {
		c.ackedAt, c.fromRest = now, false
	}
}

// look asks the connection for its progress. It counts as stuck after stuckAfter without an
// acknowledgement.
func (c *outConn) look(now time.Time, stuckAfter time.Duration) {
	c.noteBegun(now)
	before, hadFIN, last := c.arrived(), c.seen.FIN, c.seenAt
	c.seen, c.seenAt = c.conn.Progress(), now
	if c.seen.RoundTrip > 0 {
		c.backend.roundTrip.Store(int64(c.seen.RoundTrip))
	}
	if c.arrived() > before || c.arrived()+c.seen.Unsent == c.next {
		c.ackedAt = now
	}
	if read := c.surelyRead(); read > c.readTo {
		c.readTo, c.lastProgress = read, now
	}
	c.stuckAfter = stuckAfter
	c.setExact(c.seen.Exact)
	if !hadFIN {
		c.judgeFIN(now, last)
	}
	c.setStuck(now.Sub(c.ackedAt) >= c.stuckAfter)
}

// judgeFIN tells a half-closer, whose FIN comes at the start, from a target that is going away.
// If other connections to the same target have lasted until just now, the target is going away.
// judgeFIN runs until the FIN is seen; last is the time of the look before. A connection that was
// not new by then has lasted until its FIN. If the first look at a connection that has waited finds
// a FIN, nothing tells when that came: the target counts as going away, which costs a half-closer
// one more connection. Taken for one, a target that goes away would get lines until it exits.
func (c *outConn) judgeFIN(now, last time.Time) {
	switch {
	case !c.isNew(last), !c.seen.FIN && !c.isNew(now):
		c.backend.notHalfCloserAt.Store(now.UnixNano())
	case c.isNew(now) && now.Sub(time.Unix(0, c.backend.notHalfCloserAt.Load())) > NotHalfCloserFor:
		c.ignoreFIN = c.seen.FIN
	}
}

func (c *outConn) isNew(now time.Time) bool { return now.Sub(c.since) < halfCloserWithin }

func (c *outConn) setStuck(stuck bool) {
	if stuck == c.stuck {
		return
	}
	c.stuck = stuck
	if stuck {
		c.backend.Target.Stuck(1)
	} else {
		c.stalled = false
		c.backend.Target.Stuck(-1)
	}
}

// setExact counts the connections whose peer's kernel tells what is unread.
func (c *outConn) setExact(exact bool) {
	switch {
	case exact && !c.exact:
		c.backend.exact.Add(1)
	case !exact && c.exact:
		c.backend.exact.Add(-1)
	}
	c.exact = exact
}

// arrived returns the position up to which everything has arrived at the peer, as far as known.
func (c *outConn) arrived() uint64 {
	if c.seen.NoCounts {
		return c.seen.Written
	}
	return c.seen.Acked
}

// surelyRead returns the position before which nothing is unread, as the kernel tells or else by
// the estimate, without a safety margin, and without the allowance for what a peer's TLS holds.
// enforceLimit may release what lies before it, and nothing else.
func (c *outConn) surelyRead() uint64 {
	arrived := c.arrived()
	return arrived - min(c.seen.Unread, arrived)
}

// confirmable returns the position before which everything counts as read now. With exact knowledge
// that is what the peer has read, and nothing is hidden. Otherwise bytes acknowledged within age
// may be unread although they do not show, as far as anything can hide, and as many before them as
// show: a receiver that is slower than it seems has its backlog there. One of some hundred
// kilobytes a second that was starved of CPU time was more than 2 s behind, over the loopback half
// a megabyte, with 1500-byte packets more than one.
func (c *outConn) confirmable(now time.Time, age time.Duration) uint64 {
	c.ageHistory.note(now, c.arrived(), age)
	aged := c.ageHistory.before(now.Add(-age))
	pos := c.seen.Read
	if c.seen.Hidden > 0 {
		old := max(aged, c.arrived()-min(c.arrived(), c.seen.Hidden))
		pos = min(pos, old-min(old, c.seen.Unread))
	}
	if !c.seen.SeemsRead() {
		return pos
	}
	return max(pos, aged)
}

// markEnding notes that the connection is to be left.
func (c *outConn) markEnding(now time.Time) {
	if !c.ending {
		c.ending, c.endingAt = true, now
		c.backend.inUse.Add(-1)
	}
}

// noteConfirmed notes that the target has confirmed lines of the connection.
func (c *outConn) noteConfirmed() {
	if !c.confirmed {
		c.confirmed = true
		c.backend.futile.Store(0)
	}
}

// mayHalfClose reports whether the machine may send its FIN. After the peer's FIN it waits until
// the peer seems to have read everything: once both sides have ended, the reset of a peer that
// dies with data unread would go unseen. Where the kernel tells what is unread, it waits for that
// before the peer's FIN, too: a FIN that comes later counts as the answer of a peer that has read
// everything, and no kernel tells any more what a peer had unread that hangs and is shut down.
func (c *outConn) mayHalfClose(now time.Time) bool {
	read := c.seen.SeemsRead() && c.arrived() == c.next
	switch {
	case c.halfClosed:
		return false
	case c.seen.FIN:
		return read || now.Sub(c.endingAt) >= MaxFINWait
	case c.seen.Exact:
		return read
	}
	return true
}

// delivered reports whether a half-closed connection has ended cleanly with everything
// confirmed.
func (c *outConn) delivered() bool {
	return c.halfClosed && c.seen.Err == nil && c.seen.AllRead && c.arrived() == c.next
}

// sinceProgress returns how long a connection that is being left has made no progress.
func (c *outConn) sinceProgress(now time.Time) time.Duration {
	return min(now.Sub(c.endingAt), now.Sub(c.lastProgress))
}

// reportWindow updates the backend's count of retained lines. It runs at every look, not for
// every buffer.
func (c *outConn) reportWindow() {
	if c.window.held == c.reported {
		return
	}
	c.backend.retained.Sub(c.reported)
	c.reported = c.window.held
	c.backend.retained.Add(c.reported)
}

// countLines updates the backend's counts of sent and acknowledged lines. It runs at every tick
// and at the end, not for every buffer or look, since it counts lines. missing are those of the
// lines given to the connection that have not arrived in full.
func (c *outConn) countLines(missing linebuf.Count) {
	acknowledged := c.sent
	acknowledged.Add(c.writing)
	acknowledged.Sub(missing)
	if acknowledged.Bytes > c.sent.Bytes { // in the middle of a write
		acknowledged = c.sent
	}
	count := func(at *linebuf.AtomicCount, counted *linebuf.Count, now linebuf.Count) {
		if now.Bytes > counted.Bytes {
			grown := now
			grown.Sub(*counted)
			at.Add(grown)
			*counted = now
		}
	}
	count(&c.backend.sent, &c.countedSent, c.sent)
	count(&c.backend.acknowledged, &c.countedAcked, acknowledged)
}

// unacknowledged counts the lines in the window that have not arrived in full, as far as known. On
// systems without counts those are all.
func (c *outConn) unacknowledged() linebuf.Count { return c.window.after(c.seen.Acked) }

// leave takes the connection out of its target's counts once all of its lines are accounted
// for. A target that is being removed may be dropped at that moment.
func (c *outConn) leave() {
	c.reportWindow()
	c.setStuck(false)
	c.setExact(false)
	if !c.ending {
		c.backend.inUse.Add(-1)
	}
	c.backend.Target.Left()
}
