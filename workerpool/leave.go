package workerpool

import (
	"time"

	"linesplit/linebuf"
)

// onFIN acts on the peer's FIN: it dials a replacement. The worker leaves the connection when
// that dial has ended, whether it succeeded or not.
func (w *worker) onFIN(c *outConn, now time.Time) {
	w.noteLeft(c, nil, now)
	c.markEnding(now)
	w.avoidIfHomeDown(c.backend)
	if c.isNew(now) { // the next connection may end as soon
		w.dialler.retryLater()
		return
	}
	w.dialler.backoff.Reset()
	w.dial()
}

// replaceDraining dials a replacement for a connection whose target takes no more lines. After
// a peer's FIN, onFIN has dialled already or has set the retry timer.
func (w *worker) replaceDraining() {
	if d := &w.dialler; w.out != nil && w.out.ending && !d.busy && !d.armed && w.hasWork() {
		w.avoidIfHomeDown(w.out.backend)
		w.dial()
	}
}

// avoidIfHomeDown keeps the next dial from trying home first if home is down; it then avoids b,
// which the worker is leaving.
func (w *worker) avoidIfHomeDown(b *backend) {
	if w.home.target.Down() {
		w.dialler.avoid = b
	}
}

// retire begins to leave the present connection.
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

// reapLeaving takes the connections that are being left one step further and drops those that
// have ended.
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

// tryFinish reports whether a connection that is being left has ended. It requeues the window
// of one that failed, and half-closes one as soon as it may.
func (w *worker) tryFinish(c *outConn, now time.Time) bool {
	w.look(c, now)
	if c.delivered() {
		w.release(c, c.next)
	}
	if c.window.empty() {
		c.countLines(linebuf.Count{})
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
