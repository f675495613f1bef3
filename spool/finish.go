package spool

import (
	"log/slog"
	"slices"
)

// lastTries is how often finish tries to make durable what could not be synced.
const lastTries = 3

// finish does the last work of Run, whose goroutines have ended: it syncs what is written, and
// removes what is not needed. Faults do not keep it from ending.
func (s *Spool) finish() {
	y := syncer{Spool: s, retry: newRetry()}
	k := keeper{Spool: s, making: newRetry(), removing: newRetry(), last: true}
	y.sync()
	for s.writing() { // by a call of Append that came just before the end
		<-s.wakeSyncer
		y.sync()
	}
	for range lastTries {
		if !s.torn() {
			break
		}
		k.making, y.retry = newRetry(), newRetry()
		k.makeReady()
		y.repair()
		y.sync()
	}
	s.reportHeld()
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

// reportHeld says how many lines could not be synced.
func (s *Spool) reportHeld() {
	s.mu.Lock()
	var held tally
	for _, g := range s.segments {
		for _, r := range g.written {
			if r.buffer != nil {
				held.frames++
				held.Count.Add(r.frame.count())
			}
		}
	}
	s.mu.Unlock()
	if held.frames > 0 {
		s.o.Logger.Error("spool: lines could not be made durable", slog.String("dir", s.o.Dir),
			slog.Uint64("lines", held.Lines), slog.Uint64("bytes", held.Bytes), slog.String("fault", s.faults.lastFault()))
	}
}
