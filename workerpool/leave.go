package workerpool

import (
	"time"
)

// ending acts on the peer's FIN: dial beside, and leave once that has come to an end, well or not.
func (w *worker) onFIN(c *outConn, now time.Time) {
	c.markEnding(now)
	w.avoidIfHomeDown(c.backend)
	if c.isNew(now) { // the next one may end as soon
		w.dialler.retryLater()
		return
	}
	w.dialler.backoff.Reset()
	w.dial()
}

// moveOn dials beside a connection that is to be left because its target takes no more. One that the peer has ended has its dial
// behind it or before it.
func (w *worker) replaceDraining() {
	if d := &w.dialler; w.out != nil && w.out.ending && !d.busy && !d.armed && w.hasWork() {
		w.avoidIfHomeDown(w.out.backend)
		w.dial()
	}
}

// shun keeps a worker that is to leave a place from trying home first, where that is down.
func (w *worker) avoidIfHomeDown(b *backend) {
	if w.home.target.Down() {
		w.dialler.avoid = b
	}
}

// retire begins to leave the present flight.
func (w *worker) retire() {
	c := w.out
	w.out, w.full = nil, false
	c.markEnding(time.Now())
	w.leaving = append(w.leaving, c)
	w.reapLeaving(time.Now())
	if len(w.leaving) > maxLeaving {
		oldest := w.leaving[0]
		w.leaving = append(w.leaving[:0], w.leaving[1:]...)
		w.requeue(oldest, errTooManyLeaving)
	}
}

// seeOff brings the flights that are being left to their end.
func (w *worker) reapLeaving(now time.Time) {
	kept := w.leaving[:0]
	for _, c := range w.leaving {
		if !w.tryFinish(c, now) {
			kept = append(kept, c)
		}
	}
	clear(w.leaving[len(kept):])
	w.leaving = kept
}

// gone says that a flight being left has come to its end, and takes care of what it leaves.
func (w *worker) tryFinish(c *outConn, now time.Time) bool {
	w.look(c, now)
	if c.delivered() {
		w.release(c, c.next)
	}
	if c.window.empty() {
		c.conn.Close()
		c.leave()
		return true
	}
	err := w.verdict(c, now)
	if err == nil && c.seen.Over && c.halfClosed {
		err = errUnproven
	}
	if err != nil {
		w.requeue(c, err)
		return true
	}
	if c.mayHalfClose(now) {
		c.halfClosed = true
		if err := c.conn.CloseWrite(); err != nil {
			w.logger.Debug("half-close failed", "target", c.backend.target, "err", err)
		}
	}
	return false
}
