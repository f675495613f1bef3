// Package loglimit logs a repeated event in sum, so that it cannot flood the log.
package loglimit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// DefaultPeriod is the Period of a Limiter that names none.
const DefaultPeriod = 30 * time.Second

// Limiter logs the first Burst events at once. It holds the further ones back and, once a Period,
// logs the last of them with the number of events that it stands for. So the last line in the log
// always tells the present state. A Period without events ends the flood: the next events are
// logged at once again. The zero value logs one event in 30 s.
//
// The methods are safe for concurrent use; the fields are set before the first of them. An owner
// that ends calls Flush.
type Limiter struct {
	Burst  int           // events logged at once; values below 1 mean 1
	Period time.Duration // 0 means DefaultPeriod

	mu         sync.Mutex      // guards the fields below; held while logging, which keeps lines in order
	start      time.Time       // of the current period; zero before the first event
	logged     int             // in the current period
	suppressed int             // since the last event that was logged
	pending    func(count int) // logs the last suppressed event; nil if there is none, or if it came by Allow
	timer      *time.Timer     // calls lapse; nil before the first event that was held back
	armed      bool            // the timer is running
}

// Allow counts an event and reports whether it is to be logged. If so, it also returns how many
// events have been suppressed since the last one that was logged. It is for events that go on, such
// as reminders: nothing is logged at the end of the period.
func (l *Limiter) Allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allowLocked(time.Now())
}

func (l *Limiter) allowLocked(now time.Time) (suppressed int, ok bool) {
	if l.start.IsZero() || now.Sub(l.start) >= l.period() {
		l.start, l.logged = now, 0
		if l.pending != nil { // the flood goes on
			l.logged = l.burst() - 1
		}
	}
	if l.logged >= l.burst() {
		l.suppressed++
		return 0, false
	}
	l.logged++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

func (l *Limiter) burst() int { return max(l.Burst, 1) }

func (l *Limiter) period() time.Duration {
	if l.Period <= 0 {
		return DefaultPeriod
	}
	return l.Period
}

// Reset forgets all events, so that the next one is logged.
func (l *Limiter) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.logged, l.suppressed, l.pending = time.Time{}, 0, 0, nil
}

// Do counts an event and calls log with the number of events that the line stands for: at once, or
// at the end of the period if no later event replaces this one. log must neither block nor use the
// Limiter. Do does not allocate if log is bound beforehand.
func (l *Limiter) Do(log func(count int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	suppressed, ok := l.allowLocked(now)
	if ok {
		l.pending = nil
		log(suppressed + 1)
		return
	}
	l.pending = log
	if !l.armed {
		l.armLocked(now)
	}
}

func (l *Limiter) armLocked(now time.Time) {
	rest := l.start.Add(l.period()).Sub(now)
	l.armed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(rest, l.lapse)
		return
	}
	l.timer.Reset(rest)
}

// lapse logs what was held back, if the period has ended. The line is the only one at once of the
// next period.
func (l *Limiter) lapse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	switch now := time.Now(); {
	case l.pending == nil:
	case now.Sub(l.start) < l.period(): // an event has begun a new period since the timer was set
		l.armLocked(now)
	default:
		l.start, l.logged = now, l.burst()
		l.logPendingLocked()
	}
}

// Flush logs at once what is held back. The Limiter remains usable.
func (l *Limiter) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed {
		l.armed = !l.timer.Stop()
	}
	if l.pending != nil {
		l.logPendingLocked()
	}
}

func (l *Limiter) logPendingLocked() {
	log, count := l.pending, l.suppressed
	l.pending, l.suppressed = nil, 0
	log(count)
}

// Log is Do with a line for the logger. The line has a count if it stands for several events.
func (l *Limiter) Log(logger *slog.Logger, level slog.Level, msg string, attrs ...slog.Attr) {
	l.Do(func(count int) {
		if count > 1 {
			attrs = append(attrs, slog.Int("count", count))
		}
		logger.LogAttrs(context.Background(), level, msg, attrs...)
	})
}

// Warn is Log at the level of a warning.
func (l *Limiter) Warn(logger *slog.Logger, msg string, attrs ...slog.Attr) {
	l.Log(logger, slog.LevelWarn, msg, attrs...)
}
