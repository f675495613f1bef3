package spool

import (
	"cmp"
	"slices"
)

// sending is a batch that is on its way to a group. Its frames are confirmed together, once all of
// them are: were only some of them confirmed in the files after a crash, the others could not be
// sent again as the same batch.
type sending struct {
	group    int
	frames   []frameID
	released []release // of them: confirmed, and not settled yet
}

// release is a frame that a group has confirmed.
type release struct {
	segment *segment // it counts as one of its records
	frame   uint32
}

// sendingLocked notes that frames are on their way together. What they were sent with before does
// not matter any more.
func (s *Spool) sendingLocked(group int, r *batchRecord) {
	state := &s.groups[group]
	if state.sending == nil {
		state.sending = map[frameID]*sending{}
	}
	b := state.sending[r.name()]
	if b == nil || b.frames[0] != r.name() {
		b = &sending{group: group}
	}
	for f := range r.each() {
		if before := state.sending[f]; before != nil && before != b {
			s.dissolveLocked(before)
		}
	}
	for f := range r.each() {
		if !s.inFlightLocked(f, group) { // of a connection that is not used any more
			s.dissolveLocked(b)
			return
		}
	}
	for f := range r.each() {
		if state.sending[f] == nil {
			b.frames = append(b.frames, f)
			state.sending[f] = b
		}
	}
}

// inFlightLocked reports whether a group has a frame of a loaded segment in flight.
func (s *Spool) inFlightLocked(f frameID, group int) bool {
	g := s.withFramesLocked(f.source)
	if g == nil || f.frame >= g.index.frames {
		return false
	}
	e := g.index.entry(f.frame)
	return has(e.pending&e.out, group)
}

// holdLocked keeps frame n of a segment, which a group has confirmed, until the rest of its batch
// is confirmed, too. It returns the batch if that is so, or false if the frame is in none.
func (s *Spool) holdLocked(g *segment, n uint32, group int) (whole *sending, held bool) {
	b := s.groups[group].sending[frameID{g.header.id.short(), n}]
	if b == nil {
		return nil, false
	}
	g.records++
	b.released = append(b.released, release{g, n})
	if len(b.released) < len(b.frames) {
		return nil, true
	}
	return b, true
}

// confirmedLocked settles the frames of a batch, all of which are confirmed. If their confirmations
// are in several blocks, runNoter notes before that they are.
func (s *Spool) confirmedLocked(b *sending) {
	first := b.released[0]
	for _, r := range b.released {
		if r.segment != first.segment || r.frame/doneFrames != first.frame/doneFrames {
			s.whole = append(s.whole, b)
			wake(s.wakeNoter)
			return
		}
	}
	s.settleBatchLocked(b)
}

// settleBatchLocked settles the frames of a batch, all of which are confirmed.
func (s *Spool) settleBatchLocked(b *sending) {
	released := b.released
	s.dissolveLocked(b)
	for i, r := range released {
		if i == 0 || r.segment != released[i-1].segment {
			s.freeLocked(r.segment)
		}
	}
}

// dissolveLocked settles the frames of a batch that are confirmed.
func (s *Spool) dissolveLocked(b *sending) {
	state := &s.groups[b.group]
	for _, f := range b.frames {
		if state.sending[f] == b {
			delete(state.sending, f)
		}
	}
	for _, r := range b.released {
		s.confirmLocked(r.segment, r.frame, b.group)
	}
	for _, r := range b.released {
		g := r.segment
		g.records--
		s.idleLocked(g)
	}
	b.released = nil
}

// noteConfirmed notes that all frames of batches are confirmed, and settles them.
func (s *Spool) noteConfirmed(all []*sending) {
	for _, b := range all {
		for _, n := range s.confirmation(b) {
			s.writeNote(n)
		}
		s.mu.Lock()
		s.settleBatchLocked(b)
		s.mu.Unlock()
	}
}

// confirmation returns the notes that all frames of a batch are confirmed, one for each of its
// segments: any of them may be removed before the confirmations of the others are written. There
// are none if the batch is dissolved, or goes on: then not all of it is confirmed.
func (s *Spool) confirmation(b *sending) (notes []*note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b.released) < len(b.frames) {
		return nil
	}
	record := batchRecord{confirmed: true, runs: []frameRun{{b.frames[0].source, b.frames[0].frame, 1}}}
	for _, f := range b.frames[1:] {
		record.add(f.source, f.frame)
	}
	for _, r := range b.released {
		if !slices.ContainsFunc(notes, func(n *note) bool { return n.segment == r.segment }) {
			notes = append(notes, noteOf(r.segment, b.group, &record))
		}
	}
	slices.SortFunc(notes, func(a, b *note) int { return cmp.Compare(a.segment.header.number, b.segment.header.number) })
	return notes
}

// dissolveAllLocked settles all frames that are confirmed: the spool ends.
func (s *Spool) dissolveAllLocked() {
	for group := range s.groups {
		for _, b := range s.groups[group].sending {
			s.dissolveLocked(b)
		}
	}
}
