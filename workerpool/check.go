package workerpool

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
)

// attend looks at every connection and acts on what it sees.
func (w *worker) attend(now time.Time) {
	w.seeOff(now)
	f := w.flight
	if f == nil {
		return
	}
	w.look(f, now)
	if err := w.verdict(f, now); err != nil {
		w.fail(f, err)
		return
	}
	if f.seen.FIN && !f.ending && !f.stay {
		w.ending(f, now)
	}
}

// look asks a connection how it stands and lets go of what it confirms.
func (w *worker) look(f *flight, now time.Time) {
	s := w.pool.settings.Load()
	f.look(now, s.stuckAfter)
	w.release(f, f.confirmable(now, s.ResendAge))
	w.cap(f, s.windowMax)
	f.show()
	if f != w.flight {
		return
	}
	w.unlookedBytes, w.unlookedWrites = 0, 0
	if w.full = f.full(s.windowMax); w.full {
		w.recheck.Reset(recheckAfter)
	}
}

// release confirms all segments that end at pos or before.
func (w *worker) release(f *flight, pos uint64) {
	var n linebuf.Count
	for !f.window.empty() && f.window.oldest().end <= pos {
		s := f.window.pop()
		n.Add(s.count())
		if w.unobserved++; w.unobserved >= observeEvery {
			w.unobserved = 0
			w.pool.o.ConfirmSeconds.Observe(time.Since(s.buf.Read).Seconds())
		}
		w.pool.buffers.Put(s.buf)
	}
	if n.Lines == 0 {
		return
	}
	f.confirmed = true
	w.moved = w.moved && f != w.flight
	w.pool.confirm(f.place, n)
}

// cap lets the oldest segments go where the window holds more than its share, but none that seem unread.
func (w *worker) cap(f *flight, windowMax int64) {
	limit := f.surelyRead()
	for f.window.mem > windowMax && f.window.oldest().end <= limit {
		w.release(f, f.window.oldest().end)
	}
}

// verdict says why a connection must be given up, nil while it need not.
func (w *worker) verdict(f *flight, now time.Time) error {
	s := w.pool.settings.Load()
	switch {
	case f.seen.Err != nil:
		return f.seen.Err
	case f.seen.Silent >= s.DeadTimeout:
		return errSilent
	case w.lingers(f, now, s.StallTimeout+s.ResendAge):
		return errLingers
	case now.Sub(f.ackedAt) >= s.StallTimeout:
		return w.stallVerdict(f)
	}
	return nil
}

// lingers says that a target that is to be drained has shown no headway for so long that what it holds had better go elsewhere, if
// there is a target that confirms. Without that bound one that hangs could never be removed.
func (w *worker) lingers(f *flight, now time.Time, patience time.Duration) bool {
	if f.place.takes() || !f.ending || f.window.empty() || f.idleFor(now) < patience {
		return false
	}
	return w.pool.roster.Load().open.OtherConfirming(f.place.target, f.stuckAfter) != nil
}

// stallVerdict is about a peer that is alive and takes nothing. That is backpressure and no failure: the window moves once, and
// only to a target that does confirm.
func (w *worker) stallVerdict(f *flight) error {
	if !f.stalled {
		f.stalled = true
		f.place.stalls.Add(1)
		f.place.log(w.logger, slog.LevelWarn, "target takes nothing", "target", f.place.target, "since", time.Since(f.ackedAt).Round(time.Millisecond))
	}
	if w.moved || !w.hasRefuge(f) {
		return nil
	}
	w.moved = true
	return errStalled
}

// hasRefuge says whether there is where the window of a stalled connection can go: with one that is being left, to the
// present connection or nowhere.
func (w *worker) hasRefuge(f *flight) bool {
	if w.flight != nil && w.flight != f {
		at := w.flight.place
		return at != f.place && at.target.Confirming(f.stuckAfter)
	}
	roster := w.pool.roster.Load()
	t := roster.open.OtherConfirming(f.place.target, f.stuckAfter)
	if t == nil {
		return false
	}
	w.dialler.prefer = roster.placeOf(t)
	return true
}
