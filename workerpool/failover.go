package workerpool

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
)

// fail gives up the present flight.
func (w *worker) fail(c *outConn, err error) {
	w.out, w.full = nil, false
	w.moved = w.moved && err == errStalled
	w.requeue(c, err)
}

// salvage closes a failed flight and takes over all that may not have been read.
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
	}
	unacknowledged, unread := w.reclaim(c)
	if w.stopped {
		return
	}
	c.backend.target.ConnectionFailed(err)
	c.backend.unacknowledged.Add(unacknowledged)
	c.backend.unread.Add(unread)
	c.backend.log(w.logger, slog.LevelWarn, "connection failed", "target", c.backend.target, "err", err,
		"resend_unacknowledged_lines", unacknowledged.Lines, "resend_unread_lines", unread.Lines)
}

// confirmUpTo confirms the whole lines before pos.
func (w *worker) confirmUpTo(c *outConn, pos uint64) {
	w.release(c, pos)
	if c.window.empty() || pos <= c.window.oldest().start() {
		return
	}
	w.pool.countConfirmed(c.backend, c.window.trim(c.window.oldest().lineStart(pos)))
}

// reclaim moves the window to the backlog and counts what of it had been given to the connection.
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

// seek sees to it that a worker with something to write and no connection is on its way to one.
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

// dial starts the next attempt, unless one is running: then its result decides. Where there is nobody to go to, the attempt has failed.
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

// redial is dial for when the time for it has come; at the end of all lines it may not be needed any more.
func (w *worker) redial() {
	w.dialler.armed = false
	if (w.out == nil || w.out.ending) && w.hasWork() {
		w.dial()
	}
}

// candidate chooses where to go: where the worker was sent, else home unless that failed last, else a random other target that
// is not known to be down; while all are down, home and the others in turn. What a check has found to be down is left out, and
// so is what takes no lines; if that is all of them, it returns nil.
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

// arrive takes the outcome of an attempt.
func (w *worker) onDial(r dialResult) {
	w.dialler.busy = false
	if r.err != nil {
		w.onDialFailed(r)
		return
	}
	r.backend.target.DialSucceeded()
	switch {
	case !w.hasWork(): // it is not needed any more
		r.conn.Close()
	case !r.backend.join():
		r.conn.Close()
		w.attemptFailed()
	default:
		w.switchTo(r)
	}
}

// missed goes on with the connection there is, or tries another.
func (w *worker) onDialFailed(r dialResult) {
	r.backend.target.DialFailed(r.err)
	w.dialler.avoid = r.backend
	w.attemptFailed()
}

func (w *worker) attemptFailed() {
	if w.out != nil && w.out.ending {
		w.retire()
	}
	w.dialler.failed = true
}

// settle moves to a fresh connection, between two lines, and begins to leave the one there was.
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

// announce logs and counts where the worker has come to.
func (w *worker) logSwitch(to *backend) {
	from := w.lastBackend
	if from == nil {
		from = w.home
	}
	switch {
	case from == to:
		to.log(w.logger, slog.LevelInfo, "connected", "target", to.target)
	case to == w.home:
		to.failbacks.Add(1)
		to.log(w.logger, slog.LevelInfo, "failed back", "target", to.target, "from", from.target)
	case !from.accepts():
		to.log(w.logger, slog.LevelInfo, "moved on", "target", to.target, "from", from.target)
	default:
		from.failovers.Add(1)
		from.log(w.logger, slog.LevelInfo, "failed over", "target", to.target, "from", from.target)
	}
}
