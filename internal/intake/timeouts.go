package intake

import (
	"sync/atomic"
	"time"
)

// activity holds the times that the timeouts of a stream depend on, in the form of budget.now. Only
// the stream's driver writes it.
type activity struct {
	last   atomic.Int64 // when bytes came last, or the driver last called Resume
	line   atomic.Int64 // when the unfinished line began, later by all times held up; 0 without a line
	heldUp atomic.Bool  // the driver waits for the gate, for memory or to hand over
}

// Timeout is the kind of a timeout that has passed.
type Timeout int

const (
	NoTimeout Timeout = iota
	Idle              // nothing has come for too long
	SlowLine          // the unfinished line began too long ago
)

// Expired returns the timeout that has passed, if any. idle and line are the timeouts; 0 stands for
// none. Any goroutine may call it.
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

// noteLine notes when the unfinished line began, if there is one. If fresh is set, it began with
// the bytes just read.
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

// Deadline returns the time until which the driver waits for bytes, or zero for no limit. lapsed
// says that the last deadline has passed; Deadline ignores that if the stream was held up. cut says
// that the sender is cut off: then over is true once the driver has waited long enough for its last
// bytes.
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

// quietAt returns the time at which an awake stream becomes quiet if nothing comes. If that time
// has passed, it makes the stream quiet and returns zero.
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

// HoldUp is the event that the driver stops reading the stream, until it calls Resume. The time
// between them counts for no timeout.
func (s *Stream) HoldUp() { s.activity.heldUp.Store(true) }

// Resume ends the time without reads that HoldUp began at the time began.
func (s *Stream) Resume(began, now time.Time) {
	a := &s.activity
	a.last.Store(s.shared.budget.now(now))
	if line := a.line.Load(); line > 0 {
		a.line.Store(line + int64(now.Sub(began)))
	}
	a.heldUp.Store(false)
	s.excused = true
}
