package workerpool

import "time"

// tryFailback dials home beside the present connection if the worker is displaced and the
// failback interval has passed.
func (w *worker) tryFailback(now time.Time) {
	if w.out == nil || w.out.backend == w.home || w.out.ending || w.lines == nil || !w.home.dialable() {
		return
	}
	if now.Sub(w.failbackTried) < w.pool.settings.Load().FailbackInterval {
		return
	}
	w.failbackTried = now
	w.dialler.connect(w.home)
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
