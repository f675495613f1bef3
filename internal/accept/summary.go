package accept

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// summaryInterval is the least time between two log lines about the same kind of failure.
const summaryInterval = 30 * time.Second

// Summary keeps a repeated failure from flooding the log: the first is logged, and then at most one in 30 s, with the number of those
// since the last line. The zero value is ready, and safe for concurrent use.
type Summary struct {
	mu    sync.Mutex
	last  time.Time
	count int // since last
}

// Warn logs msg, or counts it.
func (s *Summary) Warn(l *slog.Logger, msg string, attrs ...slog.Attr) {
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
