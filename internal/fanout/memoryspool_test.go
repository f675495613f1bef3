package fanout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"linesplit/linebuf"
)

// memorySpool is a spool without a disk.
type memorySpool struct {
	buffers *linebuf.Pool

	mu       sync.Mutex
	limit    int // frames that are not confirmed by all groups
	frames   int
	written  int // frames
	issued   map[*linebuf.Receipt]*memoryFrame
	waiting  [Max][]*memoryFrame
	returned [Max]uint64
	news     chan struct{} // closed when something waits
	room     chan struct{} // closed when a frame is confirmed
	faults   []string
}

type memoryFrame struct {
	linebuf.Receipt
	spool   *memorySpool
	lines   []byte
	n       int
	number  int
	key     uint64
	pending linebuf.Groups
	waiting linebuf.Groups
}

func newMemorySpool(buffers *linebuf.Pool, limit int) *memorySpool {
	return &memorySpool{buffers: buffers, limit: limit, issued: map[*linebuf.Receipt]*memoryFrame{}, news: make(chan struct{}), room: make(chan struct{})}
}

func (s *memorySpool) Append(b *linebuf.Buffer, groups, waiting linebuf.Groups) (*linebuf.Receipt, error) {
	r, err := s.Reserve(b, groups, waiting)
	if err == nil {
		s.Write(r, b)
	}
	return r, err
}

func (s *memorySpool) Reserve(_ *linebuf.Buffer, groups, waiting linebuf.Groups) (*linebuf.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frames >= s.limit {
		return nil, errors.New("full")
	}
	s.frames++
	f := &memoryFrame{spool: s, pending: groups, waiting: waiting}
	f.Init(f)
	s.issued[&f.Receipt] = f
	return &f.Receipt, nil
}

func (s *memorySpool) Write(r *linebuf.Receipt, b *linebuf.Buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.issued[r]
	s.written++
	f.number = s.written
	f.lines, f.n, f.key = bytes.Clone(b.B), b.Lines, b.Key
	s.buffers.Put(b)
	for i := range s.waiting {
		if f.waiting&(1<<i) != 0 {
			s.waiting[i] = append(s.waiting[i], f)
		}
	}
	s.tell()
}

func (s *memorySpool) Postpone(r *linebuf.Receipt, groups linebuf.Groups) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.issued[r]
	for i, all := range s.waiting {
		if groups&(1<<i) != 0 {
			at, _ := slices.BinarySearchFunc(all, f, func(a, b *memoryFrame) int { return a.number - b.number })
			s.waiting[i] = slices.Insert(all, at, f)
		}
	}
	s.tell()
}

// tell wakes callers of Next. The caller holds mu.
func (s *memorySpool) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

func (s *memorySpool) Next(ctx context.Context, group int) (*linebuf.Buffer, error) {
	for {
		s.mu.Lock()
		news := s.news
		if all := s.waiting[group]; len(all) > 0 {
			f := all[0]
			s.waiting[group] = all[1:]
			s.returned[group]++
			s.mu.Unlock()
			b := s.buffers.MustGet(len(f.lines))
			b.B, b.Lines, b.Key = append(b.B, f.lines...), f.n, f.key
			b.Attach(&f.Receipt, 1<<group)
			return b, nil
		}
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *memorySpool) Behind(group int) (bool, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting[group]) > 0, s.returned[group]
}

func (s *memorySpool) Room() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.room
	if s.frames < s.limit {
		room = make(chan struct{})
		close(room)
	}
	return room
}

// Released implements linebuf.Issuer.
func (f *memoryFrame) Released(_ *linebuf.Receipt, group int) {
	s := f.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.pending&(1<<group) == 0 {
		s.faults = append(s.faults, fmt.Sprintf("%q is confirmed by group %d, which has confirmed it or should not have it", f.lines, group))
	}
	if f.pending &^= 1 << group; f.pending == 0 {
		s.frames--
		close(s.room)
		s.room = make(chan struct{})
	}
}
