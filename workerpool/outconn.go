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
const lastedWithin = 3 * time.Second

// flight is one connection in use, with its window and what the last look at it showed. Its worker owns it.
type flight struct {
	conn   Conn
	place  *place
	since  time.Time
	window window
	shown  linebuf.Count // what the place's windows hold of it

	stuckAfter time.Duration
	next       uint64 // position behind the last segment given to conn
	probe      uint64 // up to where it may be written to though it is full

	seen      target.Progress
	ackedAt   time.Time // when something last arrived, or nothing was outstanding
	readTo    uint64    // the greatest surelyRead
	headway   time.Time // when it became so
	marks     marks     // of resend-age
	fresh     marks     // of freshFor
	confirmed bool      // something of it was
	stuck     bool
	stalled   bool // counted as a stall
	ending    bool // it is to be left
	endingAt  time.Time
	stay      bool // a half-closer: its FIN means nothing
	closing   bool // we have half-closed it
}

// newFlight is for a connection that has joined its place.
func newFlight(c Conn, p *place, now time.Time) *flight {
	return &flight{conn: c, place: p, since: now, ackedAt: now}
}

// write gives s to the connection; from here on the window owns it, whatever the outcome.
func (f *flight) write(s segment, waiting func() error) error {
	f.next += uint64(s.len())
	s.end = f.next
	f.window.push(s)
	_, err := f.conn.Write(s.bytes(), waiting)
	return err
}

// look asks the connection how it stands. It counts as stuck after as long without an acknowledgement as stuckAfter says.
func (f *flight) look(now time.Time, stuckAfter time.Duration) {
	before := f.arrived()
	f.seen = f.conn.Progress()
	if f.seen.RoundTrip > 0 {
		f.place.roundTrip.Store(int64(f.seen.RoundTrip))
	}
	if f.arrived() > before || f.arrived() == f.next {
		f.ackedAt = now
	}
	if read := f.surelyRead(); read > f.readTo {
		f.readTo, f.headway = read, now
	}
	f.stuckAfter = stuckAfter
	f.judgeFIN(now)
	f.setStuck(now.Sub(f.ackedAt) >= f.stuckAfter)
}

// judgeFIN tells a half-closer, whose FIN comes at the start, from a target that is going away. If connections to the same target have
// lasted until just now, it is going away.
func (f *flight) judgeFIN(now time.Time) {
	switch {
	case f.stay:
	case !f.seen.FIN:
		if !f.young(now) {
			f.place.lasted.Store(now.UnixNano())
		}
	case f.young(now) && now.Sub(time.Unix(0, f.place.lasted.Load())) > lastedWithin:
		f.stay = true
	}
}

func (f *flight) young(now time.Time) bool { return now.Sub(f.since) < halfCloserWithin }

func (f *flight) setStuck(stuck bool) {
	if stuck == f.stuck {
		return
	}
	f.stuck = stuck
	if stuck {
		f.place.target.Stuck(1)
	} else {
		f.stalled = false
		f.place.target.Stuck(-1)
	}
}

// arrived returns the position up to which the peer has everything for all that can be known.
func (f *flight) arrived() uint64 {
	if f.seen.NoCounts {
		return f.seen.Written
	}
	return f.seen.Acked
}

// surelyRead returns the position before which nothing lies unread by the estimate, without a safety distance: the cap of
// the window may cut off what lies before, and nothing else.
func (f *flight) surelyRead() uint64 {
	arrived := f.arrived()
	return arrived - min(f.seen.Unread, arrived)
}

// freshFor is for how long what was acknowledged is retained whatever the estimate says, as far as it may be hidden from the estimate
// and the window has room. A receiver that is slower than it seems has its backlog there, and a starved one may be seconds behind.
const freshFor = 2 * time.Second

// confirmable returns the position before which everything counts as read now.
func (f *flight) confirmable(now time.Time, age time.Duration) uint64 {
	f.marks.note(now, f.arrived(), age)
	f.fresh.note(now, f.arrived(), freshFor)
	shown := f.arrived() - min(f.arrived(), f.seen.Hidden)
	pos := min(f.seen.Read, max(f.fresh.before(now.Add(-freshFor)), shown))
	if !f.seen.SeemsRead() {
		return pos
	}
	return max(pos, f.marks.before(now.Add(-age)))
}

// endWith notes that the flight is to be left.
func (f *flight) endWith(now time.Time) {
	if !f.ending {
		f.ending, f.endingAt = true, now
	}
}

// mayHalfClose waits, after the peer's FIN, until it seems to have read everything: once both sides have ended, the reset of
// a peer that dies with data unread would not be seen any more.
func (f *flight) mayHalfClose(now time.Time) bool {
	if f.closing || !f.seen.FIN {
		return !f.closing
	}
	return f.seen.SeemsRead() && f.arrived() == f.next || now.Sub(f.endingAt) >= patience
}

// delivered says that a half-closed connection has come to a clean end with everything confirmed.
func (f *flight) delivered() bool {
	return f.closing && f.seen.Err == nil && f.seen.AllRead && f.arrived() == f.next
}

// full says that nothing more must be written until something is confirmed: the window holds its share, and cap could let nothing go.
func (f *flight) full(limit int64) bool {
	if f.window.mem <= limit {
		return false
	}
	f.allowProbe(limit)
	return f.next >= f.probe
}

// leastProbe is how far above its limit a window may go for the sake of a probe, where the limit is small: some of the largest buffers.
const leastProbe = 1 << 20

// allowProbe lets a flight that is full of what only seems unread write a little more. A receiver that has read everything may offer
// less than it once did, for good, and nothing but more bytes tells it from one that hangs: without them both would stand
// still for ever. One that hangs is asked again until the window has twice its share.
func (f *flight) allowProbe(limit int64) {
	if f.seen.WindowStable && f.arrived() == f.next && f.window.mem < limit+max(limit, leastProbe) {
		f.probe = f.next + uint64(limit/4)
	}
}

// idleFor is for how long a flight that is being left has shown no headway.
func (f *flight) idleFor(now time.Time) time.Duration {
	return min(now.Sub(f.endingAt), now.Sub(f.headway))
}

// show brings the place's count of what its windows hold up to date: not with every buffer, but with every look.
func (f *flight) show() {
	if f.window.held == f.shown {
		return
	}
	f.place.windows.Sub(f.shown)
	f.shown = f.window.held
	f.place.windows.Add(f.shown)
}

// leave ends the flight's part in its target's counts, when all that it had is accounted for: a target to be removed may be gone
// right then.
func (f *flight) leave() {
	f.show()
	f.setStuck(false)
	f.place.target.Left()
}
