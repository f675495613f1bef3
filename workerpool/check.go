package workerpool

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
)

// checkConns looks at every connection and acts on what it finds.
func (w *worker) checkConns(now time.Time) {
	w.reapLeaving(now)
	c := w.out
	if c == nil {
		return
	}
	w.look(c, now)
	if err := w.verdict(c, now); err != nil {
		w.fail(c, err)
		return
	}
	if c.seen.FIN && !c.ending && !c.ignoreFIN {
		w.onFIN(c, now)
	}
}

// look asks a connection for its progress and releases what that confirms.
func (w *worker) look(c *outConn, now time.Time) {
	s := w.pool.settings.Load()
	before := c.exact
	if c.look(now, s.stuckAfter); c.exact != before {
		w.logger.Debug("peer lookup", "target", c.backend.target, "exact", c.exact)
	}
	w.release(c, c.confirmable(now, s.ResendAge))
	w.enforceLimit(c, s.windowMax)
	c.reportWindow()
	if c != w.out {
		return
	}
	w.bytesSinceLook, w.writesSinceLook = 0, 0
	if w.full = c.full(s.windowMax); w.full {
		w.recheck.Reset(recheckAfter)
	}
}

// release confirms all segments that end at pos or before it.
func (w *worker) release(c *outConn, pos uint64) {
	var n linebuf.Count
	for !c.window.empty() && c.window.oldest().end <= pos {
		s := c.window.pop()
		n.Add(s.count())
		if w.sinceSample++; w.sinceSample >= observeEvery {
			w.sinceSample = 0
			w.pool.o.ConfirmSeconds.Observe(time.Since(s.buf.Read).Seconds())
		}
		w.pool.buffers.Put(s.buf)
	}
	if n.Lines == 0 {
		return
	}
	c.confirmed = true
	w.moved = w.moved && c != w.out
	w.pool.countConfirmed(c.backend, n)
}

// enforceLimit releases the oldest segments while the window holds more than its share, but
// none that seem unread.
func (w *worker) enforceLimit(c *outConn, windowMax int64) {
	limit := c.surelyRead()
	for c.window.mem > windowMax && c.window.oldest().end <= limit {
		w.release(c, c.window.oldest().end)
	}
}

// verdict returns the reason to give up a connection, or nil to keep it.
func (w *worker) verdict(c *outConn, now time.Time) error {
	s := w.pool.settings.Load()
	switch {
	case c.seen.Err != nil:
		return c.seen.Err
	case c.seen.Silent >= s.DeadTimeout:
		return errSilent
	case w.drainStalled(c, now, s.StallTimeout+s.ResendAge):
		return errDrainStalled
	case now.Sub(c.ackedAt) >= s.StallTimeout:
		return w.stallVerdict(c)
	}
	return nil
}

// drainStalled reports whether a connection to a draining target has made no progress for the
// timeout while another target confirms. Its window is then sent to that one. Without this
// bound, a target that hangs could never be removed.
func (w *worker) drainStalled(c *outConn, now time.Time, timeout time.Duration) bool {
	if c.backend.accepts() || !c.ending || c.window.empty() || c.sinceProgress(now) < timeout {
		return false
	}
	return w.pool.backends.Load().accepting.OtherConfirming(c.backend.target, c.stuckAfter) != nil
}

// stallVerdict handles a peer that is alive and acknowledges nothing. That is backpressure, not
// a failure: the window moves once, and only to a target that confirms.
func (w *worker) stallVerdict(c *outConn) error {
	if !c.stalled {
		c.stalled = true
		c.backend.stalls.Add(1)
		c.backend.logs.takesNothing.Warn(w.logger, "target takes nothing", targetAttr(c.backend.target),
			slog.Duration("since", time.Since(c.ackedAt).Round(time.Millisecond)))
	}
	if w.moved || !w.canMove(c) {
		return nil
	}
	w.moved = true
	return errStalled
}

// canMove reports whether the window of a stalled connection has another target to go to. The
// window of a connection that is being left can go to the present connection only. For the
// present connection, canMove also chooses the target to dial.
func (w *worker) canMove(c *outConn) bool {
	if w.out != nil && w.out != c {
		at := w.out.backend
		return at != c.backend && at.target.Confirming(c.stuckAfter)
	}
	list := w.pool.backends.Load()
	t := list.accepting.OtherConfirming(c.backend.target, c.stuckAfter)
	if t == nil {
		return false
	}
	w.dialler.prefer = list.of(t)
	return true
}
