package spool

import "time"

// asideEvery is how often frames that could not be read are tried again.
const asideEvery = time.Minute

// aside is a frame that a group is to get and that cannot be read at the moment.
type aside struct {
	record *record // covers the frame
	group  int
}

// setAside lets Next go on behind the frame of r, which it could not read, if it has run out of
// patience with the frame now or has before. The frame stays unconfirmed: it is tried again once a
// minute, and in the next run.
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

// hasAside reports whether frames are set aside.
func (s *Spool) hasAside() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.aside) > 0
}
