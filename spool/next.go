package spool

import (
	"context"
	"log/slog"
	"time"

	"linesplit/linebuf"
)

const (
	// readSize is how many bytes Next reads at a time, unless one frame is larger.
	readSize = 64 << 10

	// readPatience is how long Next tries to read a frame before it goes on with others. The frame is
	// tried again later.
	readPatience = 30 * time.Second
)

// Next waits for lines that wait for a group, oldest first, and returns them in a buffer that holds
// a receipt for them. The caller owns the buffer. The error is that of ctx, or ErrClosed.
func (s *Spool) Next(ctx context.Context, group int) (*linebuf.Buffer, error) {
	var retry retry
	var since time.Time // when reading began to fail; zero: it has not
	for {
		r, err := s.take(ctx, group)
		if err != nil {
			return nil, err
		}
		b, err := s.o.Buffers.Get(ctx, r.room())
		if err != nil {
			s.giveBack(r, r.from, group)
			return nil, err
		}
		err = s.read(r, b, group)
		if err == nil && len(b.B) > 0 {
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
			since = time.Time{}
			continue
		}
		s.giveBack(r, r.from, group)
		retry.failed()
		if err := sleep(ctx, retry.delay()); err != nil {
			return nil, err
		}
	}
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

// Behind reports whether lines wait for a group, or may: while segments of earlier runs are not
// scanned, that is not known.
func (s *Spool) Behind(group int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups[group].waiting.frames > 0 || s.unscanned > 0
}

// readableLocked lets callers of Next look again.
func (s *Spool) readableLocked(group int) {
	if g := &s.groups[group]; g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}

// take waits for frames that wait for a group, and returns a record that covers some of them: those
// that fit into readSize, or one.
func (s *Spool) take(ctx context.Context, group int) (*record, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		if r := s.takeLocked(group); r != nil {
			s.mu.Unlock()
			r.Init(r)
			return r, nil
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
			return nil, ctx.Err()
		}
	}
}

// takeLocked returns nil if no frame can be read at the moment.
func (s *Spool) takeLocked(group int) *record {
	for _, g := range s.segments {
		if g.scanned && g.waiting[group].frames == 0 {
			continue
		}
		if !g.loaded {
			wake(s.wakeLoader)
			return nil
		}
		if from, ok := g.nextWaiting(group); ok {
			return s.takeRunLocked(g, from, group)
		}
	}
	if s.groups[group].early > 0 {
		s.hurryLocked()
	}
	return nil
}

// takeRunLocked makes a record for frames of a segment that follow one another.
func (s *Spool) takeRunLocked(g *segment, from uint32, group int) *record {
	r := s.newRecordLocked()
	first := g.index.entry(from)
	r.segment, r.from, r.frames, r.out = g, from, 0, 1<<group
	r.offset, r.size, r.length = first.offset(), 0, 0
	g.records++
	for n := from; n < g.index.frames; n++ {
		e := g.index.entry(n)
		size := int(e.offset()-r.offset) + frameHeader + int(e.length)
		if !has(e.pending&^e.out, group) || n > from && (size > readSize || e.offset() != r.offset+r.past) {
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

// giveBack makes the frames of r from n on wait again. r is of no use any more.
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
