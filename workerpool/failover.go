package workerpool

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// fail gives up the present connection.
func (w *worker) fail(c *outConn, err error) {
	w.out, w.full = nil, false
	w.moved = w.moved && err == errStalled
	w.noteLeft(c, err, time.Now())
	w.requeue(c, err)
}

// requeue closes a failed connection and moves all that may not have been read to the retry
// queue.
func (w *worker) requeue(c *outConn, err error) {
	w.look(c, time.Now())
	defer c.leave()
	c.conn.Abort()
	w.dialler.noteFailure(c, err)
	if w.out == nil {
		w.dialler.avoid = c.backend
	}
	if c.seen.AllRead {
		w.confirmUpTo(c, c.arrived())
	} else {
		w.confirmUpTo(c, c.seen.Known)
	}
	unacknowledged, unread := w.reclaim(c)
	c.countLines(unacknowledged)
	if w.stopped {
		return
	}
	c.backend.target.ConnectionFailed(err)
	c.backend.unacknowledged.Add(unacknowledged)
	c.backend.unread.Add(unread)
	c.backend.logs.failed.Warn(w.logger, "connection failed", targetAttr(c.backend.target), slog.Any("err", err),
		slog.Uint64("resend_unacknowledged_lines", unacknowledged.Lines), slog.Uint64("resend_unread_lines", unread.Lines))
}

// confirmUpTo confirms the whole lines before pos.
func (w *worker) confirmUpTo(c *outConn, pos uint64) {
	w.release(c, pos)
	if c.window.empty() || pos <= c.window.oldest().start() {
		return
	}
	w.pool.countConfirmed(c.backend, c.window.trim(c.window.oldest().lineStart(pos)))
}

// reclaim moves the window to the retry queue and counts the part of it that the connection had
// been given.
func (w *worker) reclaim(c *outConn) (unacknowledged, unread linebuf.Count) {
	for !c.window.empty() {
		s := c.window.pop()
		border := c.seen.Acked
		if border > s.start() && border < s.end {
			border = s.lineStart(border)
		}
		unread.Add(s.begun(0, border))
		unacknowledged.Add(s.begun(border, c.seen.Written))
		w.retryQueue.push(s)
	}
	return unacknowledged, unread
}

// ensureDial starts a dial, or the delay before one, if the worker has work and no connection.
func (w *worker) ensureDial() {
	d := &w.dialler
	switch {
	case w.out != nil || d.busy || d.armed || !w.hasWork():
	case d.failed:
		d.retryLater()
	default:
		w.dial()
	}
}

// dial starts the next attempt unless one is running, whose result then decides. With no
// candidate, the attempt has failed.
func (w *worker) dial() {
	if w.dialler.busy {
		return
	}
	if b := w.candidate(); b != nil {
		w.dialler.connect(b)
	} else {
		w.attemptFailed()
	}
}

// redial dials when the retry timer has fired, unless the worker no longer needs a connection.
func (w *worker) redial() {
	w.dialler.armed = false
	if (w.out == nil || w.out.ending) && w.hasWork() {
		w.dial()
	}
}

// candidate chooses the backend to dial: the preferred one, if set; else home, unless a backend
// failed last; else a random one that did not fail last and is not known to be down. While all
// are down, it tries home and the others in turn. It skips backends that checks have found down
// or that take no lines, and returns nil if no other is left.
func (w *worker) candidate() *backend {
	d := &w.dialler
	if b := d.prefer; b != nil {
		d.prefer = nil
		return b
	}
	avoid := d.avoid
	switch {
	case avoid == nil && w.home.dialable():
		return w.home
	case avoid == nil:
		avoid = w.home
	}
	list := w.pool.backends.Load()
	if t := list.accepting.Other(avoid.target); t != nil {
		return list.of(t)
	}
	return w.inTurn(list.all)
}

func (w *worker) inTurn(backends []*backend) *backend {
	d := &w.dialler
	for range 2 * len(backends) {
		d.turn++
		b := w.home
		if d.turn%2 == 0 {
			b = backends[d.turn/2%len(backends)]
		}
		if b.dialable() {
			return b
		}
	}
	return nil
}

// onDial takes the result of an attempt.
func (w *worker) onDial(r dialResult) {
	w.dialler.busy = false
	if r.err != nil {
		w.onDialFailed(r)
		return
	}
	r.backend.target.DialSucceeded()
	switch {
	case !w.hasWork(): // it is no longer needed
		r.conn.Close()
	case !r.backend.join():
		r.conn.Close()
		w.attemptFailed()
	default:
		w.switchTo(r)
	}
}

// onDialFailed notes the failure and makes the next attempt avoid that backend.
func (w *worker) onDialFailed(r dialResult) {
	if target.IsLocalError(r.err) {
		r.backend.target.DialHindered(r.err)
		w.pool.hindered.Warn(w.pool.o.Logger, "cannot dial for want of resources", slog.Any("err", r.err))
	} else {
		r.backend.target.DialFailed(r.err)
	}
	w.dialler.avoid = r.backend
	w.attemptFailed()
}

// attemptFailed leaves a connection that only waited for its replacement, and delays the next dial.
func (w *worker) attemptFailed() {
	if w.out != nil && w.out.ending {
		w.retire()
	}
	w.dialler.failed = true
}

// switchTo makes a fresh connection the present one, between two lines, and retires the one
// before.
func (w *worker) switchTo(r dialResult) {
	now := time.Now()
	if w.out != nil {
		w.retire()
	}
	w.out = newOutConn(r.conn, r.backend, now)
	w.dialler.avoid, w.dialler.prefer = nil, nil
	w.failbackTried = now
	w.logSwitch(r.backend)
	w.lastBackend = r.backend
}

// logSwitch logs and counts the worker's move to a backend.
func (w *worker) logSwitch(to *backend) {
	from := w.lastBackend
	if from == nil {
		from = w.home
	}
	left := slog.Any("from", from.target)
	switch {
	case from == to:
		to.logs.connected.Log(w.logger, slog.LevelInfo, "connected", targetAttr(to.target))
	case to == w.home:
		to.failbacks.Add(1)
		to.logs.failedBack.Log(w.logger, slog.LevelInfo, "failed back", targetAttr(to.target), left)
	case !from.accepts():
		to.logs.movedOn.Log(w.logger, slog.LevelInfo, "moved on", targetAttr(to.target), left)
	default:
		from.failovers.Add(1)
		from.logs.failedOver.Log(w.logger, slog.LevelInfo, "failed over", targetAttr(to.target), left)
	}
}
