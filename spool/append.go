package spool

import (
	"fmt"
	"math"
	"time"

	"linesplit/linebuf"
)

// waste is the least disk space behind the last frame of a segment, in bytes, that is given back.
const waste = 64 << 10

// Append is Reserve followed by Write. The spool owns b unless there is an error. The receipt is
// nil if waiting covers groups, since no worker gets the lines then.
func (s *Spool) Append(b *linebuf.Buffer, groups, waiting linebuf.Groups) (*linebuf.Receipt, error) {
	r, err := s.Reserve(b, groups, waiting)
	if err != nil {
		return nil, err
	}
	s.Write(r, b)
	if groups&s.all == waiting&s.all {
		return nil, nil // it may stand for other lines by now
	}
	return r, nil
}

// Reserve reserves a frame for the lines of b, which groups have yet to confirm. The caller still
// owns b, and must call Write soon: the end of Run waits for it. Next returns the lines to the
// groups in waiting. The workers of the others get them from the caller, which after Write attaches
// the receipt to the buffers that it gives them.
//
// The error is ErrFull if Size is used up, ErrBusy if Hold is or if the next segment is not made
// yet, ErrTooLarge, ErrClosed, or a fault of the disk.
func (s *Spool) Reserve(b *linebuf.Buffer, groups, waiting linebuf.Groups) (*linebuf.Receipt, error) {
	groups &= s.all
	waiting &= groups
	if groups == 0 || len(b.B) == 0 {
		return nil, fmt.Errorf("spool: a buffer of %d bytes for no group", len(b.B))
	}
	s.mu.Lock()
	r, err := s.reserveLocked(b, groups, waiting)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r.Init(r)
	r.Origin = r.mark()
	return &r.Receipt, nil
}

// Write writes the lines of the buffer for which Reserve has returned a receipt. b is that buffer
// or a view of it. The spool owns b from then on, and puts it back once its lines are synced or
// confirmed. If the disk fails, the lines stay in memory until they are written into another
// segment.
func (s *Spool) Write(receipt *linebuf.Receipt, b *linebuf.Buffer) {
	r := recordOf(receipt)
	r.buffer = b
	err := r.write()
	s.mu.Lock()
	g := r.segment
	g.writers--
	s.appended.Add(r.frame.count())
	s.countLocked(r)
	if err != nil {
		s.failLocked(g, fmt.Errorf("spool: write to %s: %w", segmentName(g.header.number), err))
	}
	s.writtenLocked(r)
	s.mu.Unlock()
	if err != nil {
		s.faults.writes.Add(1)
		s.fault("write", "could not write to a segment; its unsynced lines are written to another one", err, g)
	}
}

// reserveLocked reserves a frame for b.
func (s *Spool) reserveLocked(b *linebuf.Buffer, groups, waiting linebuf.Groups) (*record, error) {
	memory := b.Memory()
	size := extent(len(b.B))
	if err := s.admitLocked(memory, size); err != nil {
		return nil, err
	}
	r := s.newRecordLocked()
	r.memory = memory
	r.out, r.waiting = groups&^waiting, waiting
	r.frame = frame{
		length: uint32(len(b.B)), lines: uint32(b.Lines), groups: groups, framing: b.Framing, read: b.Read,
		key: b.Key,
	}
	s.placeLocked(r, s.active, groups)
	s.held += memory
	s.nearEndLocked()
	return r, nil
}

// nearEndLocked lets the keeper drop the oldest lines before the active segment is used up.
func (s *Spool) nearEndLocked() {
	const nearly = 4 // quarters
	if s.o.DropOldest && s.ready == nil && !s.nearEnd && s.active.end > s.active.size/nearly*(nearly-1) {
		s.nearEnd = true
		wake(s.wakeKeeper)
	}
}

// placeLocked reserves a place for r in a segment that has room for it, pending for groups.
func (s *Spool) placeLocked(r *record, g *segment, pending linebuf.Groups) {
	n := g.index.frames
	r.segment, r.from, r.frames = g, n, 1
	r.frame.segment, r.frame.sequence, r.frame.synced, r.offset = g.header.number, n, g.synced, g.end
	g.index.grow(n+1, &s.chunks)
	e := g.index.entry(n)
	*e = entry{
		at: uint32(g.end / frameAlign), length: r.frame.length, lines: r.frame.lines,
		read: toSeconds(r.frame.read, g.header.created), pending: pending, out: pending,
	}
	g.end += extent(int(r.frame.length))
	g.records++
	g.writers++
}

// admitLocked reports why a frame of size bytes, from a buffer that takes memory bytes, cannot be
// written now. If there is no error, the active segment has room for it.
func (s *Spool) admitLocked(memory, size int64) error {
	switch {
	case s.closed:
		return ErrClosed
	case headerBlock+size > s.o.Size/2 || size > maxLength:
		return ErrTooLarge
	case s.repairs: // what is to be written again goes first
		return s.noSegmentLocked()
	case s.held > 0 && memory > s.o.Hold-s.held:
		s.crowded = true
		s.hurryLocked()
		return ErrBusy
	case s.active != nil && size <= s.active.size-s.active.end && s.active.index.frames < maxFrames:
		return nil
	}
	return s.rotateLocked(size)
}

// rotateLocked makes the segment that is ready the active one, if it has room for a frame of size
// bytes.
func (s *Spool) rotateLocked(size int64) error {
	if s.ready == nil || size > s.ready.size-s.ready.end {
		s.starved = true
		s.want = max(s.want, headerBlock+size)
		wake(s.wakeKeeper)
		return s.noSegmentLocked()
	}
	old := s.active
	s.active, s.ready = s.ready, nil
	s.active.active = true
	s.segments, s.loaded = append(s.segments, s.active), append(s.loaded, s.active)
	wake(s.wakeLoader)
	s.want = 0
	wake(s.wakeKeeper)
	if old != nil {
		s.retreatLocked(old)
	}
	return nil
}

// retreatLocked makes a segment one that is not written to any more.
func (s *Spool) retreatLocked(g *segment) {
	g.active = false
	if g.size-g.end >= waste {
		g.wasteful = true
		s.wasteful = append(s.wasteful, g)
		wake(s.wakeKeeper)
	}
	s.idleLocked(g)
}

// noSegmentLocked returns why there is no segment to write to.
func (s *Spool) noSegmentLocked() error {
	switch {
	case s.repairs:
		return s.writeFault
	case s.noFile != nil:
		return s.noFile
	case s.full && !s.o.DropOldest:
		return ErrFull
	}
	return ErrBusy
}

// countLocked counts the frame of r, which has been written.
func (s *Spool) countLocked(r *record) {
	e := r.segment.index.entry(r.from)
	r.segment.left.add(e)
	s.left.add(e)
	for group := range s.groups {
		switch {
		case has(r.waiting, group):
			s.groups[group].waiting.add(e)
			s.groups[group].early++
			s.readableLocked(group)
		case has(r.out, group):
			s.groups[group].inFlight.add(e)
		}
	}
}

// writtenLocked queues r for the next sync.
func (s *Spool) writtenLocked(r *record) {
	g := r.segment
	r.queued, r.wrote = true, time.Now()
	g.written = append(g.written, r)
	switch {
	case g.failed:
		wake(s.wakeSyncer) // it writes the frame again
		return
	case len(g.written) == 1:
		s.toSync = append(s.toSync, g)
	}
	if s.unsynced.IsZero() {
		s.unsynced = r.wrote
		wake(s.wakeSyncer)
	}
	if s.held >= s.o.Hold/2 {
		s.hurryLocked()
	}
}

// Room returns a channel that is closed when Append may succeed, or fails for another reason than
// before. It is closed already if the last Append has not failed.
func (s *Spool) Room() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openLocked() {
		return closed
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// closed is a channel that is closed.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// openLocked reports whether Append may succeed.
func (s *Spool) openLocked() bool { return s.closed || !s.repairs && !s.starved && !s.crowded }

// announceLocked tells callers of Room if Append may succeed.
func (s *Spool) announceLocked() {
	if s.room != nil && s.openLocked() {
		s.announceErrorLocked()
	}
}

// announceErrorLocked tells callers of Room that Append has another error now.
func (s *Spool) announceErrorLocked() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// Refuses reports whether a fault of the disk may keep Append from taking n bytes of frames, such
// as that it has no room for them. It says nothing of Options.Size, and waits for the file system.
func (s *Spool) Refuses(n int64) bool {
	free, err := s.fs.Free(s.o.Dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range []*segment{s.active, s.ready} {
		if g != nil {
			n -= g.size - g.end
		}
	}
	return s.repairs || n > 0 && (s.noFile != nil || s.most > 0 || err == nil && n > free+s.spare)
}

// hurryLocked makes the next sync begin at once.
func (s *Spool) hurryLocked() {
	if !s.syncNow {
		s.syncNow = true
		wake(s.wakeSyncer)
	}
}

// Unlimit lifts the limit of Options.Size, for a shutdown at which lines have nowhere else to go.
// Nor is there any longer a least free space on the disk, such as that of a whole segment.
func (s *Spool) Unlimit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.makeNow = math.MaxInt64, true
	s.full = false
	wake(s.wakeKeeper)
	s.announceLocked()
}
