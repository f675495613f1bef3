package spool

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"linesplit/internal/loglimit"
)

// faults counts and logs errors of the disk and damage in the files. It is safe for concurrent use.
type faults struct {
	logger *slog.Logger
	kinds  loglimit.Kinds
	all    atomic.Uint64
	writes atomic.Uint64
	syncs  atomic.Uint64

	mu   sync.Mutex // guards the field below
	last string
}

// add counts a fault. Repeated ones of a kind are logged as a summary.
func (f *faults) add(kind, msg string, err error, attrs ...slog.Attr) {
	f.all.Add(1)
	last := msg
	if err != nil {
		last = fmt.Sprintf("%s: %v", msg, err)
		attrs = append(attrs, slog.Any("err", err))
	}
	f.mu.Lock()
	f.last = last
	f.mu.Unlock()
	f.kinds.Of(kind).Warn(f.logger, "spool: "+msg, attrs...)
}

func (f *faults) lastFault() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// flush logs what is held back.
func (f *faults) flush() { f.kinds.Flush() }

// fault counts and logs a fault of a segment, which may be nil. It is not called with s.mu held.
func (s *Spool) fault(kind, msg string, err error, g *segment, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("dir", s.o.Dir))
	if g != nil {
		attrs = append(attrs, slog.String("segment", segmentName(g.header.number)))
	}
	s.faults.add(kind, msg, err, attrs...)
}
