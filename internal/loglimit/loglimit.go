// Package loglimit keeps a repeated event from flooding the log.
package loglimit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// DefaultPeriod is the Period of a Limiter that names none.
const DefaultPeriod = 30 * time.Second

// Limiter lets the first Burst events of each Period through to the log and counts the others. The
// zero value lets one event through in 30 s. Its methods are safe for concurrent use; its fields
// are set before the first of them.
type Limiter struct {
	Burst  int           // events logged in one Period; values below 1 mean 1
	Period time.Duration // 0 means DefaultPeriod

	mu         sync.Mutex // guards the fields below
	start      time.Time  // of the current period; zero before the first event
	logged     int        // in the current period
	suppressed int        // since the last event that was logged
}

// Allow counts an event and reports whether it is to be logged. If so, it also returns how many
// events have been suppressed since the last one that was logged.
func (l *Limiter) Allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	period := l.Period
	if period <= 0 {
		period = DefaultPeriod
	}
	if now := time.Now(); l.start.IsZero() || now.Sub(l.start) >= period {
		l.start, l.logged = now, 0
	}
	if l.logged >= max(l.Burst, 1) {
		l.suppressed++
		return 0, false
	}
	l.logged++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

// Reset forgets all events, so that the next one is logged.
func (l *Limiter) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.logged, l.suppressed = time.Time{}, 0, 0
}

// Warn counts an event and, where Allow lets it through, logs msg with attrs and a count of the
// events that the line stands for.
func (l *Limiter) Warn(logger *slog.Logger, msg string, attrs ...slog.Attr) {
	if suppressed, ok := l.Allow(); ok {
		logger.LogAttrs(context.Background(), slog.LevelWarn, msg, append(attrs, slog.Int("count", suppressed+1))...)
	}
}
