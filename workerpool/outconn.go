package workerpool

import (
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// stuckAfter is after how long without an acknowledgement, at most, a connection with something outstanding counts as stuck, and
// its target as no refuge for others. It is half of the stall timeout where that is shorter: when all targets stop at once, none
// must seem to be of help to the others.
const stuckAfter = time.Second

// halfCloserWithin is how soon after its start a FIN means that the target never writes, and not that it wants to go.
const halfCloserWithin = time.Second

// lastedWithin is for how long a connection that lasted proves that its target is no half-closer. A target that has become one is
// connected to again and again for so long.
const notHalfCloserFor = 3 * time.Second

// flight is one connection in use, with its window and what the last look at it showed. Its worker owns it.
type outConn struct {
	conn     Conn
	backend  *backend
	since    time.Time
	window   window
	reported linebuf.Count // what the place's windows hold of it

	stuckAfter time.Duration
	next       uint64 // position behind the last segment given to conn
	probe      uint64 // up to where it may be written to though it is full

	seen         target.Progress
	ackedAt      time.Time  // when something last arrived, or nothing was outstanding
	readTo       uint64     // the greatest surelyRead
	lastProgress time.Time  // when it became so
	ageHistory   ackHistory // of resend-age
	freshHistory ackHistory // of freshFor
	confirmed    bool       // something of it was
	stuck        bool
	stalled      bool // counted as a stall
	ending       bool // it is to be left
	endingAt     time.Time
	ignoreFIN    bool // a half-closer: its FIN means nothing
	halfClosed   bool // we have half-closed it
}

// newFlight is for a connection that has joined its place.
func newOutConn(c Conn, b *backend, now time.Time) *outConn {
	return &outConn{conn: c, backend: b, since: now, ackedAt: now}
}

// write gives s to the connection; from here on the window owns it, whatever the outcome.
func (c *outConn) write(s segment, waiting func() error) error {
	c.next += uint64(s.len())
	s.end = c.next
	c.window.push(s)
	_, err := c.conn.Write(s.bytes(), waiting)
	return err
}

// look asks the connection how it stands. It counts as stuck after as long without an acknowledgement as stuckAfter says.
func (c *outConn) look(now time.Time, stuckAfter time.Duration) {
	before := c.arrived()
	c.seen = c.conn.Progress()
	if c.seen.RoundTrip > 0 {
		c.backend.roundTrip.Store(int64(c.seen.RoundTrip))
	}
	if c.arrived() > before || c.arrived() == c.next {
		c.ackedAt = now
	}
	if read := c.surelyRead(); read > c.readTo {
		c.readTo, c.lastProgress = read, now
	}
	c.stuckAfter = stuckAfter
	c.judgeFIN(now)
	c.setStuck(now.Sub(c.ackedAt) >= c.stuckAfter)
}

// judgeFIN tells a half-closer, whose FIN comes at the start, from a target that is going away. If connections to the same target have
// lasted until just now, it is going away.
func (c *outConn) judgeFIN(now time.Time) {
	switch {
	case c.ignoreFIN:
	case !c.seen.FIN:
		if !c.isNew(now) {
			c.backend.notHalfCloserAt.Store(now.UnixNano())
		}
	case c.isNew(now) && now.Sub(time.Unix(0, c.backend.notHalfCloserAt.Load())) > notHalfCloserFor:
		c.ignoreFIN = true
	}
}

func (c *outConn) isNew(now time.Time) bool { return now.Sub(c.since) < halfCloserWithin }

func (c *outConn) setStuck(stuck bool) {
	if stuck == c.stuck {
		return
	}
	c.stuck = stuck
	if stuck {
		c.backend.target.Stuck(1)
	} else {
		c.stalled = false
		c.backend.target.Stuck(-1)
	}
}

// arrived returns the position up to which the peer has everything for all that can be known.
func (c *outConn) arrived() uint64 {
	if c.seen.NoCounts {
		return c.seen.Written
	}
	return c.seen.Acked
}

// surelyRead returns the position before which nothing lies unread by the estimate, without a safety distance: the cap of
// the window may cut off what lies before, and nothing else.
func (c *outConn) surelyRead() uint64 {
	arrived := c.arrived()
	return arrived - min(c.seen.Unread, arrived)
}

// freshFor is for how long what was acknowledged is retained whatever the estimate says, as far as it may be hidden from the estimate
// and the window has room. A receiver that is slower than it seems has its backlog there, and a starved one may be seconds behind.
const freshFor = 2 * time.Second

// confirmable returns the position before which everything counts as read now.
func (c *outConn) confirmable(now time.Time, age time.Duration) uint64 {
	c.ageHistory.note(now, c.arrived(), age)
	c.freshHistory.note(now, c.arrived(), freshFor)
	shown := c.arrived() - min(c.arrived(), c.seen.Hidden)
	pos := min(c.seen.Read, max(c.freshHistory.before(now.Add(-freshFor)), shown))
	if !c.seen.SeemsRead() {
		return pos
	}
	return max(pos, c.ageHistory.before(now.Add(-age)))
}

// endWith notes that the flight is to be left.
func (c *outConn) markEnding(now time.Time) {
	if !c.ending {
		c.ending, c.endingAt = true, now
	}
}

// mayHalfClose waits, after the peer's FIN, until it seems to have read everything: once both sides have ended, the reset of
// a peer that dies with data unread would not be seen any more.
func (c *outConn) mayHalfClose(now time.Time) bool {
	if c.halfClosed || !c.seen.FIN {
		return !c.halfClosed
	}
	return c.seen.SeemsRead() && c.arrived() == c.next || now.Sub(c.endingAt) >= maxFINWait
}

// delivered says that a half-closed connection has come to a clean end with everything confirmed.
func (c *outConn) delivered() bool {
	return c.halfClosed && c.seen.Err == nil && c.seen.AllRead && c.arrived() == c.next
}

// full says that nothing more must be written until something is confirmed: the window holds its share, and cap could let nothing go.
func (c *outConn) full(limit int64) bool {
	if c.window.mem <= limit {
		return false
	}
	c.allowProbe(limit)
	return c.next >= c.probe
}

// leastProbe is how far above its limit a window may go for the sake of a probe, where the limit is small: some of the largest buffers.
const minProbe = 1 << 20

// allowProbe lets a flight that is full of what only seems unread write a little more. A receiver that has read everything may offer
// less than it once did, for good, and nothing but more bytes tells it from one that hangs: without them both would stand
// still for ever. One that hangs is asked again until the window has twice its share.
func (c *outConn) allowProbe(limit int64) {
	if c.seen.WindowStable && c.arrived() == c.next && c.window.mem < limit+max(limit, minProbe) {
		c.probe = c.next + uint64(limit/4)
	}
}

// idleFor is for how long a flight that is being left has shown no headway.
func (c *outConn) sinceProgress(now time.Time) time.Duration {
	return min(now.Sub(c.endingAt), now.Sub(c.lastProgress))
}

// show brings the place's count of what its windows hold up to date: not with every buffer, but with every look.
func (c *outConn) reportWindow() {
	if c.window.held == c.reported {
		return
	}
	c.backend.retained.Sub(c.reported)
	c.reported = c.window.held
	c.backend.retained.Add(c.reported)
}

// leave ends the flight's part in its target's counts, when all that it had is accounted for: a target to be removed may be gone
// right then.
func (c *outConn) leave() {
	c.reportWindow()
	c.setStuck(false)
	c.backend.target.Left()
}
