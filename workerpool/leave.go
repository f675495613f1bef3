package workerpool

import (
	"time"
)

// ending acts on the peer's FIN: dial beside, and leave once that has come to an end, well or not.
func (w *worker) ending(f *flight, now time.Time) {
	f.endWith(now)
	w.shun(f.place)
	if f.young(now) { // the next one may end as soon
		w.dialler.later()
		return
	}
	w.dialler.backoff.Reset()
	w.dial()
}

// moveOn dials beside a connection that is to be left because its target takes no more. One that the peer has ended has its dial
// behind it or before it.
func (w *worker) moveOn() {
	if d := &w.dialler; w.flight != nil && w.flight.ending && !d.busy && !d.armed && w.unfinished() {
		w.shun(w.flight.place)
		w.dial()
	}
}

// shun keeps a worker that is to leave a place from trying home first, where that is down.
func (w *worker) shun(p *place) {
	if w.home.target.Down() {
		w.dialler.avoid = p
	}
}

// retire begins to leave the present flight.
func (w *worker) retire() {
	f := w.flight
	w.flight, w.full = nil, false
	f.endWith(time.Now())
	w.leaving = append(w.leaving, f)
	w.seeOff(time.Now())
	if len(w.leaving) > maxLeaving {
		oldest := w.leaving[0]
		w.leaving = append(w.leaving[:0], w.leaving[1:]...)
		w.salvage(oldest, errCrowded)
	}
}

// seeOff brings the flights that are being left to their end.
func (w *worker) seeOff(now time.Time) {
	kept := w.leaving[:0]
	for _, f := range w.leaving {
		if !w.gone(f, now) {
			kept = append(kept, f)
		}
	}
	clear(w.leaving[len(kept):])
	w.leaving = kept
}

// gone says that a flight being left has come to its end, and takes care of what it leaves.
func (w *worker) gone(f *flight, now time.Time) bool {
	w.look(f, now)
	if f.delivered() {
		w.release(f, f.next)
	}
	if f.window.empty() {
		f.conn.Close()
		f.leave()
		return true
	}
	err := w.verdict(f, now)
	if err == nil && f.seen.Over && f.closing {
		err = errUnproven
	}
	if err != nil {
		w.salvage(f, err)
		return true
	}
	if f.mayHalfClose(now) {
		f.closing = true
		if err := f.conn.CloseWrite(); err != nil {
			w.logger.Debug("half-close failed", "target", f.place.target, "err", err)
		}
	}
	return false
}
