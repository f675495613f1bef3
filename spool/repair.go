package spool

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// failLocked ends all writing to a segment after a fault. Nothing is appended until its unsynced
// frames, whose buffers are still in memory, have been written to another segment.
func (s *Spool) failLocked(g *segment, err error) {
	g.failed, g.active = true, false
	if s.active == g {
		s.active = nil
	}
	s.repairs, s.writeFault = true, err
	s.dissolveAllLocked() // frames are about to move
	wake(s.wakeSyncer)
}

// repair writes frames of failed segments again, oldest first, into the active segment or the next
// one. It does nothing until the next attempt is due.
func (y *syncer) repair() {
	for y.retry.delay() == 0 {
		y.mu.Lock()
		r, wait := y.tornLocked()
		if r == nil {
			switch {
			case wait:
				y.retry.at = time.Time{} // the end of the write wakes this goroutine
			case y.repairs:
				y.repairs, y.writeFault = false, nil
				y.retry.succeeded()
				y.announceLocked()
			}
			y.mu.Unlock()
			return
		}
		w := y.moveLocked(r)
		y.mu.Unlock()
		if w == nil { // the keeper wakes this goroutine
			y.retry.at = time.Time{}
			return
		}
		if !y.finishMove(r, w) {
			y.retry.failed()
			return
		}
	}
}

// tornLocked returns the oldest unsynced record of a failed segment. wait reports whether a write
// has to end first. tornLocked releases records that need no sync any more.
func (y *syncer) tornLocked() (r *record, wait bool) {
	if !y.repairs {
		return nil, false
	}
	for _, g := range slices.Clone(y.segments) { // some are removed on the way
		if !g.failed {
			continue
		}
		if g.writers > 0 {
			return nil, true // what is being written may come first
		}
		if !g.ordered { // once, since no write is under way
			slices.SortFunc(g.written, func(a, b *record) int { return cmp.Compare(a.from, b.from) })
			g.ordered = true
		}
		for len(g.written) > 0 {
			r := g.written[0]
			if r.buffer != nil {
				return r, false
			}
			g.written = g.written[1:]
			r.queued = false
			y.releaseRecordLocked(r)
		}
		y.idleLocked(g)
	}
	return nil, false
}

// moveLocked reserves a frame for the lines of r, and returns a record for the write, or nil if
// there is no segment for it yet.
func (y *syncer) moveLocked(r *record) *record {
	size := extent(len(r.buffer.B))
	if y.active == nil || size > y.active.size-y.active.end {
		if y.rotateLocked(size) != nil {
			return nil
		}
	}
	w := y.newRecordLocked()
	w.buffer, w.frame = r.buffer, r.frame
	r.moving = true
	pending := r.segment.index.entry(r.from).pending
	w.frame.groups = pending
	y.placeLocked(w, y.active, pending)
	return w
}

// finishMove writes the frame of w, and makes r stand for it. It returns false, and leaves r as it
// is, if the write fails.
func (y *syncer) finishMove(r, w *record) bool {
	err := w.write()
	y.mu.Lock()
	g := w.segment
	g.writers--
	r.moving = false
	if err != nil {
		y.voidLocked(g, w.from)
		y.failLocked(g, fmt.Errorf("spool: write to %s: %w", segmentName(g.header.number), err))
	} else {
		y.movedLocked(r, w)
	}
	b := y.unneededLocked(r)
	w.buffer, w.segment = nil, nil
	if err != nil {
		g.records--
	}
	w.next, y.records = y.records, w
	y.mu.Unlock()
	y.o.Buffers.Put(b)
	if err != nil {
		y.faults.writes.Add(1)
		y.fault("write", "could not write to a segment; its unsynced lines are written to another one", err, g)
	}
	return err == nil
}

// movedLocked makes r stand for the frame that w has written: groups that have not confirmed the
// old one need the new one instead.
func (y *syncer) movedLocked(r, w *record) {
	old, oldFrame := r.segment, r.from
	was, is := old.index.entry(oldFrame), w.segment.index.entry(w.from)
	for group := range y.groups {
		if has(is.pending&^was.pending, group) && w.segment.settle(is, w.from, group) {
			y.changedLocked(w.segment, w.from, group) // confirmed during the write
		}
	}
	if was.pending != 0 {
		old.left.sub(was)
		w.segment.left.add(is)
	}
	y.voidLocked(old, oldFrame)
	old.written = old.written[1:]
	old.records--
	r.segment, r.from, r.frame, r.offset = w.segment, w.from, w.frame, w.offset
	y.writtenLocked(r)
	y.idleLocked(old)
}
