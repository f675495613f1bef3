package workerpool

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
)

// fail gives up the present flight.
func (w *worker) fail(f *flight, err error) {
	w.flight, w.full = nil, false
	w.moved = w.moved && err == errStalled
	w.salvage(f, err)
}

// salvage closes a failed flight and takes over all that may not have been read.
func (w *worker) salvage(f *flight, err error) {
	w.look(f, time.Now())
	defer f.leave()
	f.conn.Abort()
	w.dialler.learn(f, err)
	if w.flight == nil {
		w.dialler.avoid = f.place
	}
	if f.seen.AllRead {
		w.confirmUpTo(f, f.arrived())
	}
	unacknowledged, unread := w.reclaim(f)
	if w.stopped {
		return
	}
	f.place.target.ConnectionFailed(err)
	f.place.unacknowledged.Add(unacknowledged)
	f.place.unread.Add(unread)
	f.place.log(w.logger, slog.LevelWarn, "connection failed", "target", f.place.target, "err", err,
		"resend_unacknowledged_lines", unacknowledged.Lines, "resend_unread_lines", unread.Lines)
}

// confirmUpTo confirms the whole lines before pos.
func (w *worker) confirmUpTo(f *flight, pos uint64) {
	w.release(f, pos)
	if f.window.empty() || pos <= f.window.oldest().start() {
		return
	}
	w.pool.confirm(f.place, f.window.trim(f.window.oldest().lineStart(pos)))
}

// reclaim moves the window to the backlog and counts what of it had been given to the connection.
func (w *worker) reclaim(f *flight) (unacknowledged, unread linebuf.Count) {
	for !f.window.empty() {
		s := f.window.pop()
		border := f.seen.Acked
		if border > s.start() && border < s.end {
			border = s.lineStart(border)
		}
		unread.Add(s.begun(0, border))
		unacknowledged.Add(s.begun(border, f.seen.Written))
		w.again.push(s)
	}
	return unacknowledged, unread
}

// seek sees to it that a worker with something to write and no connection is on its way to one.
func (w *worker) seek() {
	d := &w.dialler
	switch {
	case w.flight != nil || d.busy || d.armed || !w.unfinished():
	case d.inVain:
		d.later()
	default:
		w.dial()
	}
}

// dial starts the next attempt, unless one is running: then its result decides. Where there is nobody to go to, the attempt has failed.
func (w *worker) dial() {
	if w.dialler.busy {
		return
	}
	if p := w.candidate(); p != nil {
		w.dialler.to(p)
	} else {
		w.inVain()
	}
}

// redial is dial for when the time for it has come; at the end of all lines it may not be needed any more.
func (w *worker) redial() {
	w.dialler.armed = false
	if (w.flight == nil || w.flight.ending) && w.unfinished() {
		w.dial()
	}
}

// candidate chooses where to go: where the worker was sent, else home unless that failed last, else a random other target that
// is not known to be down; while all are down, home and the others in turn. What a check has found to be down is left out, and
// so is what takes no lines; if that is all of them, it returns nil.
func (w *worker) candidate() *place {
	d := &w.dialler
	if p := d.prefer; p != nil {
		d.prefer = nil
		return p
	}
	avoid := d.avoid
	switch {
	case avoid == nil && w.home.useful():
		return w.home
	case avoid == nil:
		avoid = w.home
	}
	roster := w.pool.roster.Load()
	if t := roster.open.Other(avoid.target); t != nil {
		return roster.placeOf(t)
	}
	return w.inTurn(roster.places)
}

func (w *worker) inTurn(places []*place) *place {
	d := &w.dialler
	for range 2 * len(places) {
		d.turn++
		p := w.home
		if d.turn%2 == 0 {
			p = places[d.turn/2%len(places)]
		}
		if p.useful() {
			return p
		}
	}
	return nil
}

// arrive takes the outcome of an attempt.
func (w *worker) arrive(r result) {
	w.dialler.busy = false
	if r.err != nil {
		w.missed(r)
		return
	}
	r.place.target.DialSucceeded()
	switch {
	case !w.unfinished(): // it is not needed any more
		r.conn.Close()
	case !r.place.join():
		r.conn.Close()
		w.inVain()
	default:
		w.settle(r)
	}
}

// missed goes on with the connection there is, or tries another.
func (w *worker) missed(r result) {
	r.place.target.DialFailed(r.err)
	w.dialler.avoid = r.place
	w.inVain()
}

func (w *worker) inVain() {
	if w.flight != nil && w.flight.ending {
		w.retire()
	}
	w.dialler.inVain = true
}

// settle moves to a fresh connection, between two lines, and begins to leave the one there was.
func (w *worker) settle(r result) {
	now := time.Now()
	if w.flight != nil {
		w.retire()
	}
	w.flight = newFlight(r.conn, r.place, now)
	w.dialler.avoid, w.dialler.prefer = nil, nil
	w.triedHome = now
	w.announce(r.place)
	w.last = r.place
}

// announce logs and counts where the worker has come to.
func (w *worker) announce(to *place) {
	from := w.last
	if from == nil {
		from = w.home
	}
	switch {
	case from == to:
		to.log(w.logger, slog.LevelInfo, "connected", "target", to.target)
	case to == w.home:
		to.failbacks.Add(1)
		to.log(w.logger, slog.LevelInfo, "failed back", "target", to.target, "from", from.target)
	case !from.takes():
		to.log(w.logger, slog.LevelInfo, "moved on", "target", to.target, "from", from.target)
	default:
		from.failovers.Add(1)
		from.log(w.logger, slog.LevelInfo, "failed over", "target", to.target, "from", from.target)
	}
}
