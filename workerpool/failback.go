package workerpool

import (
	"time"
)

// goHome lets a displaced worker dial its home beside its live connection.
func (w *worker) goHome(now time.Time) {
	if w.flight == nil || w.flight.place == w.home || w.flight.ending || w.lines == nil || !w.home.useful() {
		return
	}
	if now.Sub(w.triedHome) < w.pool.settings.Load().FailbackInterval {
		return
	}
	w.triedHome = now
	w.dialler.to(w.home)
}

// homeward lets a displaced worker dial home while a write blocks. A connection that this brings waits for the end of the
// write, but not for that of a stall: with all workers blocked at one target, nobody else would find out that home is back.
func (w *worker) homeward(now time.Time) error {
	w.goHome(now)
	select {
	case r := <-w.dialler.results:
		if r.err != nil {
			w.arrive(r)
			return nil
		}
		w.dialler.results <- r // there is room: nobody else sends while it is not taken
	default:
		return nil
	}
	if !w.flight.stalled || w.moved {
		return nil
	}
	w.moved = true
	return errStalled
}
