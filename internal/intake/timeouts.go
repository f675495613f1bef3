package intake

import (
	"sync/atomic"
	"time"
)

// activity holds the times that the timeouts of a stream depend on, in the form of budget.now. The
// stream's owner writes it.
type activity struct {
	last   atomic.Int64 // the last bytes, or the end of the last time that the driver held up the stream
	line   atomic.Int64 // the beginning of the unfinished line, without the times held up; 0 without one
	heldUp atomic.Bool  // the stream waits for the gate, the memory or the hand-over
}

// Timeout is a timeout that has passed.
type Timeout int

const (
	NoTimeout Timeout = iota
	Idle              // nothing has come for too long
	SlowLine          // the unfinished line began too long ago
)

// Expired returns the timeout that has passed, if any: 0 for idle or line means none. It may be
// called by any goroutine.
func (s *Stream) Expired(now time.Time, idle, line time.Duration) Timeout {
	a, at := &s.activity, s.shared.budget.now(now)
	if !s.o.Timed || a.heldUp.Load() {
		return NoTimeout
	}
	began, last := a.line.Load(), a.last.Load()
	switch {
	case line > 0 && began > 0 && at-began > int64(line):
		return SlowLine
	case idle > 0 && at-last > int64(idle):
		return Idle
	}
	return NoTimeout
}

// noteRead notes that bytes have come.
func (s *Stream) noteRead(now time.Time) { s.activity.last.Store(s.shared.budget.now(now)) }

// noteLine notes when the unfinished line began, if there is one: fresh says that it began with the
// bytes just read.
func (s *Stream) noteLine(fresh bool) {
	a := &s.activity
	switch {
	case s.Unfinished() == 0 && !s.rules.skipping:
		if a.line.Load() != 0 {
			a.line.Store(0)
		}
	case fresh || a.line.Load() == 0:
		a.line.Store(max(1, a.last.Load()))
	}
}

const (
	// A stream is awake until nothing has come for quietAfter.
	quietAfter = time.Second
	// A sender that is cut off is read until nothing has come for readOutWait, since closing a
	// socket with unread data resets it. What has arrived is read at once. The wait is for data
	// that the sender's kernel still holds because we had not been reading: that may have to be
	// retransmitted first, which takes Linux 200 ms. A sender that never stops writing is read for
	// maxReadOut.
	readOutWait = 250 * time.Millisecond
	maxReadOut  = time.Second
)

// Deadline returns when the next reads are to end if nothing comes, zero for never. lapsed reports
// whether the deadline before has passed, which is no silence of the sender if the stream was held
// up; cut, whether the sender is cut off. Then, after some time, the stream is over.
func (s *Stream) Deadline(now time.Time, lapsed, cut bool) (at time.Time, over bool) {
	lapsed = lapsed && !s.excused
	s.excused = false
	switch {
	case !cut:
		return s.quietAt(now, lapsed), false
	case s.readOut.IsZero():
		s.readOut = now.Add(maxReadOut)
	case lapsed || now.After(s.readOut):
		return time.Time{}, true
	}
	return now.Add(readOutWait), false
}

// quietAt returns when an awake stream has gone quiet, and makes it so if that time has come.
func (s *Stream) quietAt(now time.Time, lapsed bool) time.Time {
	if !s.awake {
		return time.Time{}
	}
	if lapsed && !s.active {
		s.GoQuiet()
		return time.Time{}
	}
	s.active = false
	return now.Add(quietAfter)
}

// HoldUp tells that the driver keeps the stream from being read, until Resume. The time between
// them counts for no timeout.
func (s *Stream) HoldUp() { s.activity.heldUp.Store(true) }

// Resume ends what HoldUp began, at the given time.
func (s *Stream) Resume(began, now time.Time) {
	a := &s.activity
	a.last.Store(s.shared.budget.now(now))
	if line := a.line.Load(); line > 0 {
		a.line.Store(line + int64(now.Sub(began)))
	}
	a.heldUp.Store(false)
	s.excused = true
}
