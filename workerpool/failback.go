package workerpool

import (
	"time"
)

// goHome lets a displaced worker dial its home beside its live connection.
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

// homeward lets a displaced worker dial home while a write blocks. A connection that this brings waits for the end of the
// write, but not for that of a stall: with all workers blocked at one target, nobody else would find out that home is back.
func (w *worker) failbackInWrite(now time.Time) error {
	w.tryFailback(now)
	select {
	case r := <-w.dialler.results:
		if r.err != nil {
			w.onDial(r)
			return nil
		}
		w.dialler.results <- r // there is room: nobody else sends while it is not taken
	default:
		return nil
	}
	if !w.out.stalled || w.moved {
		return nil
	}
	w.moved = true
	return errStalled
}
