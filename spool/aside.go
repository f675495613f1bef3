package spool

import (
	"slices"
	"time"
)

// asideEvery is how often frames that could not be read, and segments that could not be opened, are
// tried again.
const asideEvery = time.Minute

// aside is a frame that a group is to get and that cannot be read at the moment.
type aside struct {
	record *record // covers the frame
	group  int
}

// setAside lets Next skip the frame of r, which it could not read, if Next is impatient now or has
// skipped the frame before. It reports whether it did. The frame stays unconfirmed: it is tried
// again once a minute, and in the next run.
func (s *Spool) setAside(r *record, group int, impatient bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := r.segment
	if !impatient && !g.unreadable[r.from] {
		return false
	}
	if g.unreadable == nil {
		g.unreadable = map[uint32]bool{}
	}
	g.unreadable[r.from] = true
	e, state := g.index.entry(r.from), &s.groups[group]
	state.inFlight.sub(e)
	state.unreadable.add(e)
	s.aside = append(s.aside, aside{r, group})
	wake(s.wakeLoader)
	return true
}

// retryAside makes all frames that are set aside wait again.
func (s *Spool) retryAside() {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.aside
	s.aside = nil
	for _, a := range all {
		r, state := a.record, &s.groups[a.group]
		e := r.segment.index.entry(r.from)
		state.unreadable.sub(e)
		state.inFlight.add(e)
		s.postponeLocked(r.segment, r.from, a.group, false)
		r.out = 0
		s.releaseRecordLocked(r)
		s.readableLocked(a.group)
	}
}

// hasAside reports whether frames are set aside, or segments skipped.
func (s *Spool) hasAside() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.aside) > 0 || len(s.skipped) > 0
}

// passOverLocked lets Next and the loader skip a segment that cannot be opened. Its lines stay
// unconfirmed: it is tried again once a minute, and in the next run.
func (s *Spool) passOverLocked(g *segment) {
	g.skipped, g.tries = true, 0
	s.skipped = append(s.skipped, g)
	s.toScan = without(s.toScan, g)
	for group := range s.groups {
		state := &s.groups[group]
		state.waiting.subAll(g.waiting[group])
		state.unreadable.addAll(g.waiting[group])
		s.readableLocked(group)
	}
	wake(s.wakeKeeper) // it may drop others
}

// reachedLocked ends what passOverLocked has begun, and the wait for a scan.
func (s *Spool) reachedLocked(g *segment) {
	s.toScan = without(s.toScan, g)
	if !g.skipped {
		return
	}
	g.skipped = false
	s.skipped = without(s.skipped, g)
	for group := range s.groups {
		state := &s.groups[group]
		state.unreadable.subAll(g.waiting[group])
		state.waiting.addAll(g.waiting[group])
	}
}

// without takes a segment out of a list.
func without(list []*segment, g *segment) []*segment {
	if i := slices.Index(list, g); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// retrySkipped has all segments that are skipped tried again.
func (l *loader) retrySkipped() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = slices.Clone(l.skipped)
}
