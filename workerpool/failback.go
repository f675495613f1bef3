package workerpool

import "time"

const (
	// minHomeWait is the least time between a worker's last move, or last attempt to go home, and
	// an attempt for which there is evidence that home is back.
	minHomeWait = time.Second
	// homeProven is the age at which a connection home has shown that home is well.
	homeProven = 30 * time.Second
	// firstHomeWait is the wait after a connection home that ended sooner; it doubles with each.
	firstHomeWait = 5 * time.Second
)

// tryFailback dials home beside the present connection if the worker is displaced and may go home.
func (w *worker) tryFailback(now time.Time) {
	if w.out == nil || w.out.backend == w.home || w.out.ending || w.lines == nil || !w.home.dialable() {
		return
	}
	if w.mayGoHome(now) {
		w.failbackTried = now
		w.dialler.connect(w.home)
	}
}

// mayGoHome reports whether there is evidence that home is back, or the failback interval has
// passed. Evidence is a dial of home that has succeeded: one displaced worker after the other makes
// such dials, and when one has succeeded, all go home.
func (w *worker) mayGoHome(now time.Time) bool {
	s := w.pool.settings.Load()
	since := now.Sub(w.failbackTried)
	switch {
	case since >= s.FailbackInterval:
		return true
	case since < max(minHomeWait, w.homeWait):
		return false
	case w.home.target.DialledSince(w.failbackTried):
		return true
	}
	passed := w.home.target.PassedSince(w.failbackTried)
	return (passed || since >= s.FailbackProbe) && w.home.claimProbe(now, s.FailbackProbe)
}

// claimProbe reports whether the caller is to dial the backend to find out whether it is back. That
// is so once in every interval, and once after each passed check.
func (b *backend) claimProbe(now time.Time, every time.Duration) bool {
	last := b.probedAt.Load()
	then := time.Unix(0, last)
	if now.Sub(then) < every && !b.target.PassedSince(then) {
		return false
	}
	return b.probedAt.CompareAndSwap(last, now.UnixNano())
}

// noteLeft adjusts the wait before the worker goes home again when it leaves a connection. A home
// that crashes again and again, or a balancer in front of dead receivers, would otherwise get lines
// every few seconds, which then go twice. Only time shows whether a home that has stalled takes
// lines again.
func (w *worker) noteLeft(c *outConn, err error, now time.Time) {
	s := w.pool.settings.Load()
	switch {
	case c.backend != w.home || c.ending: // ending: noted when that began
	case err == errStalled:
		w.homeWait = s.FailbackInterval
	case now.Sub(c.since) >= homeProven:
		w.homeWait = 0
	default:
		w.homeWait = min(max(2*w.homeWait, firstHomeWait), s.FailbackInterval)
	}
}

// failbackInWrite dials home for a displaced worker whose write blocks. A connection home waits
// for the end of the write. If the write stalls, failbackInWrite ends it with errStalled: with
// all workers blocked at one target, none would otherwise find out that home is back.
func (w *worker) failbackInWrite(now time.Time) error {
	w.tryFailback(now)
	select {
	case r := <-w.dialler.results:
		if r.err != nil {
			w.onDial(r)
			return nil
		}
		w.dialler.results <- r // has room: only the dialler sends, and only after this is taken
	default:
		return nil
	}
	if !w.out.stalled || w.moved {
		return nil
	}
	w.moved = true
	return errStalled
}
