package spool

import (
	"time"
	"unsafe"

	"linesplit/linebuf"
)

// record is the issuer's side of a receipt. It covers one frame that Append has written, or several
// in a row that Next has read for one group. Spool.mu guards the fields except those for the write.
// A record is live while it covers frames for a group, or its sync is outstanding.
type record struct {
	linebuf.Receipt // first, see recordOf

	spool   *Spool
	segment *segment
	from    uint32 // number of the first frame
	frames  uint32 // number of frames

	out     linebuf.Groups // groups whose workers have the lines
	waiting linebuf.Groups // groups that read the lines back once they are synced
	queued  bool           // it is in segment.written or segment.syncing, or is being written again
	wrote   time.Time      // when it was put into segment.written
	stale   bool           // buffers may still point to it: it is not used again

	// Of a frame that Append writes:
	buffer *linebuf.Buffer // nil once the lines are synced, or confirmed by all groups
	memory int64           // its bytes in Spool.held
	moving bool            // the buffer is being written again
	frame  frame
	offset int64 // of the first frame
	parts  [2][]byte

	// Of frames that Next reads, from offset on:
	size   int   // bytes to the end of the last one's lines
	past   int64 // bytes to where the next frame begins
	length int   // bytes of lines

	head [frameHeader]byte

	next *record // in the list of free ones
}

// recordOf returns the record that a receipt is a part of.
func recordOf(r *linebuf.Receipt) *record { return (*record)(unsafe.Pointer(r)) }

const _ = -unsafe.Offsetof(record{}.Receipt) // does not compile unless Receipt is the first field

// mark returns the mark of the first line of the frame of r; zero if r covers several.
func (r *record) mark() linebuf.Mark {
	if r.frames != 1 {
		return linebuf.Mark{}
	}
	return linebuf.Mark{Source: r.segment.header.id.short(), Number: uint64(r.from)}
}

// newRecordLocked returns a record without frames. The caller calls its Init.
func (s *Spool) newRecordLocked() *record {
	r := s.records
	if r == nil {
		r = &record{spool: s}
	} else {
		s.records, r.next = r.next, nil
	}
	return r
}

// releaseRecordLocked makes r free for further use if it is not live any more.
func (s *Spool) releaseRecordLocked(r *record) {
	if r.out != 0 || r.waiting != 0 || r.queued {
		return
	}
	g := r.segment
	r.segment = nil
	g.records--
	if !r.stale {
		r.next, s.records = s.records, r
	}
	s.idleLocked(g)
}

// write writes the frame.
func (r *record) write() error {
	r.frame.checksum = checksum(r.buffer.B)
	r.frame.encode(&r.head, r.segment.header.id.short())
	r.parts = [2][]byte{r.head[:], r.buffer.B}
	_, err := r.segment.file.Writev(r.offset, r.parts[:])
	r.parts[1] = nil
	return err
}

// Released implements linebuf.Issuer: the group has confirmed the frames of r.
func (r *record) Released(_ *linebuf.Receipt, group int) {
	s := r.spool
	s.mu.Lock()
	if !has(r.out, group) {
		s.mu.Unlock()
		return
	}
	r.out &^= 1 << group
	g := r.segment
	var whole *sending // batches have frames with a record each
	for n := r.from; n < r.from+r.frames; n++ {
		b, held := s.holdLocked(g, n, group)
		if b != nil {
			whole = b
		}
		if !held {
			s.confirmLocked(g, n, group)
		}
	}
	b := s.unneededLocked(r)
	s.releaseRecordLocked(r)
	s.freeLocked(g)
	if whole != nil {
		s.confirmedLocked(whole)
	}
	s.mu.Unlock()
	if b != nil {
		s.o.Buffers.Put(b)
	}
}

// freeLocked lets go of a segment whose lines are all confirmed, so that its file is free at once.
func (s *Spool) freeLocked(g *segment) {
	if g.left.frames == 0 && !g.active {
		s.dropConfirmedLocked(g)
	}
}

// unneededLocked takes the buffer out of r if no group needs its lines any more, synced or not. The
// caller puts it back.
func (s *Spool) unneededLocked(r *record) *linebuf.Buffer {
	if r.buffer == nil || r.moving || r.out != 0 || r.waiting != 0 {
		return nil
	}
	return s.takeBufferLocked(r)
}

// takeBufferLocked takes the buffer out of r, for the caller to put back.
func (s *Spool) takeBufferLocked(r *record) *linebuf.Buffer {
	b := r.buffer
	r.buffer = nil
	if b != nil {
		s.held -= r.memory
		s.crowded = false
		s.announceLocked()
	}
	return b
}

// Postpone makes Next return the lines of a receipt to groups whose workers had them. The buffers
// with these lines have forsaken the receipt for these groups; see linebuf.Buffer.Return.
func (s *Spool) Postpone(receipt *linebuf.Receipt, groups linebuf.Groups) {
	r := recordOf(receipt)
	s.mu.Lock()
	defer s.mu.Unlock()
	groups &= r.out
	if groups == 0 {
		return
	}
	r.out &^= groups
	r.stale = true
	g := r.segment
	for n := r.from; n < r.from+r.frames; n++ {
		for group := range s.groups {
			if has(groups, group) {
				s.postponeLocked(g, n, group, r.queued)
			}
		}
	}
	if r.queued {
		r.waiting |= groups
	}
	for group := range s.groups {
		if has(groups, group) {
			s.readableLocked(group)
		}
	}
	s.releaseRecordLocked(r)
}

// postponeLocked makes frame n wait for a group that has it in flight. An unsynced frame can be
// read only after its sync.
func (s *Spool) postponeLocked(g *segment, n uint32, group int, unsynced bool) {
	e := g.index.entry(n)
	if !has(e.pending, group) {
		return
	}
	state := &s.groups[group]
	if b := state.sending[frameID{g.header.id.short(), n}]; b != nil {
		s.dissolveLocked(b)
	}
	state.inFlight.sub(e)
	if g.gone {
		e.pending &^= 1 << group
		e.out &^= 1 << group
		state.dropped.Add(e.count())
		s.lostLocked(e)
		return
	}
	state.waiting.add(e)
	if unsynced {
		state.early++
		return
	}
	e.out &^= 1 << group
	s.waitsLocked(g, e, n, group)
}

// confirmLocked notes that a group has confirmed frame n, which it has in flight.
func (s *Spool) confirmLocked(g *segment, n uint32, group int) {
	e := g.index.entry(n)
	if !has(e.pending, group) {
		return
	}
	state := &s.groups[group]
	state.inFlight.sub(e)
	state.confirmed.Add(e.count())
	s.settleLocked(g, e, n, group)
}

// settleLocked marks frame n as no longer needed by a group. The caller has counted it.
func (s *Spool) settleLocked(g *segment, e *entry, n uint32, group int) {
	was := e.pending
	if g.settle(e, n, group) {
		s.changedLocked(g, n, group)
	}
	if was == 0 || e.pending != 0 {
		return
	}
	s.voidLocked(g, n) // for groups that never needed it
	if !g.gone {
		g.left.sub(e)
		s.left.sub(e)
	}
}

// voidLocked marks frame n as needed by no group: then it may be missing. The caller has counted
// it.
func (s *Spool) voidLocked(g *segment, n uint32) {
	e := g.index.entry(n)
	for group := range s.groups {
		if g.settle(e, n, group) {
			s.changedLocked(g, n, group)
		}
	}
}

// idleLocked has a segment removed, unloaded or dropped once nothing uses it any more.
func (s *Spool) idleLocked(g *segment) {
	switch {
	case g.busy() || g.records > 0:
	case g.gone:
		wake(s.wakeKeeper) // closes its files
	case g.scanned && g.left.frames == 0:
		s.retireLocked(g)
	default:
		wake(s.wakeLoader) // may unload it
		if s.starved {
			wake(s.wakeKeeper) // may drop it
		}
	}
}
