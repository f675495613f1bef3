package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// summaryInterval is the least time between two log lines about the same kind of failure.
const summaryInterval = 30 * time.Second

// summary keeps a repeated failure from flooding the log: the first is logged, and then at most one in each interval, with the number
// of those since the last line.
type summary struct {
	mu    sync.Mutex
	last  time.Time
	count int // since last
}

func (s *summary) warn(l *slog.Logger, msg string, attrs ...slog.Attr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < summaryInterval {
		return
	}
	l.LogAttrs(context.Background(), slog.LevelWarn, msg, append(attrs, slog.Int("count", s.count))...)
	s.last, s.count = now, 0
}
