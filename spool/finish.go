package spool

import (
	"log/slog"
	"slices"
)

// lastTries is the number of attempts of finish to write unsynced lines again: enough for segments
// that shrink to the room that the disk has.
const lastTries = 12

// finish does the last work of Run, whose goroutines have ended: it syncs what is written, and
// removes what is not needed. It ends in spite of faults.
func (s *Spool) finish() {
	y := syncer{Spool: s, retry: newRetry()}
	k := keeper{Spool: s, making: newRetry(), removing: newRetry(), last: true}
	y.sync()
	for s.writing() { // by a call of Append that came just before the end
		<-s.wakeSyncer
		y.sync()
	}
	y.sync() // of a write that has ended during the one before
	for range lastTries {
		if !s.torn() {
			break
		}
		k.making, y.retry = newRetry(), newRetry()
		k.makeReady()
		y.repair()
		y.sync()
	}
	s.reportLost()
	s.retryAside()
	s.mu.Lock()
	s.dissolveAllLocked()
	s.mu.Unlock()
	k.dropInFlight()
	confirmer := s.newConfirmer()
	confirmer.writeChanged()
	y.syncDone()
	s.mu.Lock()
	if s.ready != nil {
		k.retireReadyLocked()
	}
	if g := s.active; g != nil {
		s.active = nil
		s.retreatLocked(g)
	}
	s.mu.Unlock()
	k.trim()
	k.removeRetired()
	k.removeSpare()
}

// writing reports whether a call of Append is writing.
func (s *Spool) writing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.segments, func(g *segment) bool { return g.writers > 0 })
}

// torn reports whether frames of failed segments are to be written again.
func (s *Spool) torn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repairs
}

// dropInFlight counts lines as dropped that workers still have of segments that made room for new
// lines: their workers have ended without a confirmation, and no file has the lines.
func (k *keeper) dropInFlight() {
	k.mu.Lock()
	var all []dropped
	for _, g := range k.retired {
		if g.records == 0 {
			continue
		}
		before := k.dropped
		for n := range g.index.frames {
			e := g.index.entry(n)
			for group := range k.groups {
				if has(e.pending&e.out, group) {
					k.postponeLocked(g, n, group, false)
				}
			}
		}
		lines := k.dropped
		lines.Sub(before)
		all = append(all, dropped{g, lines, k.dropped.Lines})
	}
	k.mu.Unlock()
	for _, d := range all {
		k.logDropped(d)
	}
}

// reportLost counts the lines that could not be made durable as lost, and says how many they are.
func (s *Spool) reportLost() {
	s.mu.Lock()
	for _, g := range s.segments {
		for _, r := range g.written {
			if r.buffer != nil {
				s.loseLocked(r)
			}
		}
	}
	lost := s.lost
	s.mu.Unlock()
	if lost.Lines > 0 {
		s.o.Logger.Error("spool: lines could not be made durable", slog.String("dir", s.o.Dir),
			slog.Uint64("lines", lost.Lines), slog.Uint64("bytes", lost.Bytes), slog.String("fault", s.faults.lastFault()))
	}
}

// loseLocked counts the frame of r, whose sync is outstanding, as lost. It does not count as
// confirmed: the next run delivers it if the disk has it all the same.
func (s *Spool) loseLocked(r *record) {
	g, e := r.segment, r.segment.index.entry(r.from)
	s.lost.Add(e.count())
	s.left.sub(e)
	g.left.sub(e)
	for group := range s.groups {
		switch state := &s.groups[group]; {
		case has(r.waiting, group):
			state.waiting.sub(e)
			state.early--
		case has(r.out, group):
			state.inFlight.sub(e)
		}
	}
	e.pending, e.out = 0, 0
}
