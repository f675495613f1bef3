package spool

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"linesplit/linebuf"
)

const (
	// readSize is how many bytes Next reads at a time, unless one frame is larger.
	readSize = 64 << 10

	// readPatience is how long Next tries to read a frame before it goes on with others, and skips
	// those that it cannot read either until a read succeeds. It tries all of them again later.
	readPatience = 30 * time.Second

	// memoryPatience is how long Next waits for memory before it exceeds the budget.
	memoryPatience = 100 * time.Millisecond
)

// Next waits for lines that wait for a group, oldest first, and returns them in a buffer that holds
// a receipt for them. The caller owns the buffer. The error is that of ctx, or ErrClosed.
func (s *Spool) Next(ctx context.Context, group int) (*linebuf.Buffer, error) {
	var retry retry
	var since time.Time // when reading began to fail; zero: it has not
	for {
		r, together, err := s.take(ctx, group)
		if err != nil {
			return nil, err
		}
		if together != nil {
			if b, err := s.nextTogether(ctx, together, group); b != nil || err != nil {
				return b, err
			}
			continue
		}
		b, err := s.buffer(ctx, r.room())
		if err != nil {
			s.giveBack(r, r.from, group)
			return nil, err
		}
		err = s.read(r, b, group)
		if err == nil && len(b.B) > 0 {
			r.Origin = r.mark()
			b.Attach(&r.Receipt, 1<<group)
			return b, nil
		}
		s.o.Buffers.Put(b)
		if err == nil { // all of it was damaged
			s.giveBack(r, r.from+r.frames, group)
			continue
		}
		if since.IsZero() {
			since, retry = time.Now(), newRetry()
		}
		s.fault("read", "could not read a frame; it is tried again", err, r.segment, slog.Int64("offset", r.offset))
		if s.setAside(r, group, time.Since(since) >= readPatience) {
			continue
		}
		s.giveBack(r, r.from, group)
		retry.failed()
		if err := sleep(ctx, retry.delay()); err != nil {
			return nil, err
		}
	}
}

// buffer returns a buffer for frames that are to be read. Senders that wait for room in a full
// spool may hold all memory, and only the delivery of these frames makes room: after
// memoryPatience, the buffer exceeds the budget.
func (s *Spool) buffer(ctx context.Context, size int) (*linebuf.Buffer, error) {
	if b := s.o.Buffers.TryGet(size); b != nil {
		return b, nil
	}
	patient, cancel := context.WithTimeout(ctx, memoryPatience)
	defer cancel()
	b, err := s.o.Buffers.Get(patient, size)
	switch {
	case err == nil:
		return b, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return s.o.Buffers.MustGet(size), nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Behind reports whether lines wait for a group, or may wait: that is not known until the segments
// of earlier runs are scanned. Lines that cannot be read at the moment do not count. It also
// returns how often Next has begun to read lines for the group.
func (s *Spool) Behind(group int) (behind bool, reads uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &s.groups[group]
	return g.waiting.frames > 0 || len(s.toScan) > 0, g.reads
}

// readableLocked lets callers of Next look again.
func (s *Spool) readableLocked(group int) {
	if g := &s.groups[group]; g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}

// take waits for frames that wait for a group, and returns a record that covers some of them: those
// that fit into readSize, or one. For frames that were sent together it returns a record for each.
func (s *Spool) take(ctx context.Context, group int) (*record, []*record, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, nil, ErrClosed
		}
		if r, together := s.takeLocked(group); r != nil {
			s.mu.Unlock()
			r.Init(r)
			for _, r := range together {
				r.Init(r)
			}
			return r, together, nil
		}
		state := &s.groups[group]
		if state.wake == nil {
			state.wake = make(chan struct{})
		}
		wake := state.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// takeLocked returns nil if no frame can be read at the moment.
func (s *Spool) takeLocked(group int) (*record, []*record) {
	for _, g := range s.behindLocked(group) {
		if !g.mayWait(group) {
			continue
		}
		if !g.loaded {
			wake(s.wakeLoader)
			return nil, nil
		}
		if from, ok := g.nextWaiting(group); ok {
			switch all, later := s.takeTogetherLocked(g, from, group); {
			case later:
				return nil, nil
			case all != nil:
				return all[0], all
			}
			return s.takeRunLocked(g, from, group), nil
		}
	}
	if s.groups[group].early > 0 {
		s.hurryLocked()
	}
	return nil, nil
}

// behindLocked returns the segments from the first one on that has lines for a group, or may have.
func (s *Spool) behindLocked(group int) []*segment {
	state := &s.groups[group]
	from, _ := slices.BinarySearchFunc(s.segments, state.from, func(g *segment, number uint64) int {
		return cmp.Compare(g.header.number, number)
	})
	for ; from < len(s.segments); from++ {
		g := s.segments[from]
		if state.from = g.header.number; g.mayWait(group) {
			break
		}
	}
	return s.segments[from:]
}

// waitsLocked counts frame n of a segment as one that waits for a group.
func (s *Spool) waitsLocked(g *segment, e *entry, n uint32, group int) {
	g.waiting[group].add(e)
	g.first[group] = min(g.first[group], n)
	s.groups[group].from = min(s.groups[group].from, g.header.number)
}

// takeRunLocked makes a record for frames of a segment that follow one another.
func (s *Spool) takeRunLocked(g *segment, from uint32, group int) *record {
	r := s.newRecordLocked()
	first := g.index.entry(from)
	r.segment, r.from, r.frames, r.out = g, from, 0, 1<<group
	r.offset, r.size, r.length = first.offset(), 0, 0
	g.records++
	s.groups[group].reads++
	for n := from; n < g.index.frames; n++ {
		e := g.index.entry(n)
		size := int(e.offset()-r.offset) + frameHeader + int(e.length)
		if !has(e.pending&^e.out, group) || n > from && (s.o.Marked || size > readSize || e.offset() != r.offset+r.past) {
			break
		}
		e.out |= 1 << group
		g.waiting[group].sub(e)
		s.groups[group].waiting.sub(e)
		s.groups[group].inFlight.add(e)
		r.frames++
		r.size = size
		r.length += int(e.length)
		r.past = e.offset() - r.offset + extent(int(e.length))
	}
	return r
}

// room returns the bytes that a buffer for the frames of r needs.
func (r *record) room() int {
	if r.frames == 1 {
		return r.length
	}
	return r.size
}

// giveBack makes the frames of r from n on wait again, and releases r.
func (s *Spool) giveBack(r *record, n uint32, group int) {
	s.cut(r, n-r.from, group)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.out = 0
	s.releaseRecordLocked(r)
}

// cut gives back all frames of r but the first n.
func (s *Spool) cut(r *record, n uint32, group int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := r.from + n; i < r.from+r.frames; i++ {
		s.postponeLocked(r.segment, i, group, false)
	}
	r.frames = n
	if n == 1 {
		r.length = int(r.segment.index.entry(r.from).length)
	}
	s.readableLocked(group)
}
