package service

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"linesplit/internal/loglimit"
)

// reloadBurst is how many reloads are logged at once in half a minute, and how many of those by
// SIGHUP that failed; the others are logged in sum.
const reloadBurst = 32

// reloadLog logs reloads. A line that stands for several names all settings that these have
// changed.
type reloadLog struct {
	limit loglimit.Limiter

	mu       sync.Mutex // guards the fields below
	changed  []string   // settings that have changed since the last line
	warnings []string   // of the configuration read last; nil if they have been logged
}

func newReloadLog() reloadLog { return reloadLog{limit: loglimit.Limiter{Burst: reloadBurst}} }

// note keeps what a reload has changed, and the warnings of its configuration, for the next line.
func (l *reloadLog) note(changed, warnings []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range changed {
		if !slices.Contains(l.changed, name) {
			l.changed = append(l.changed, name)
		}
	}
	l.warnings = warnings
}

func (l *reloadLog) take() (changed, warnings []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed, warnings = l.changed, l.warnings
	l.changed, l.warnings = nil, nil
	return changed, warnings
}

// log logs a reload, or keeps it for a line that stands for several.
func (l *reloadLog) log(logger *slog.Logger, needRestart []string) {
	l.limit.Do(func(count int) {
		changed, warnings := l.take()
		warnOf(logger, warnings)
		level := slog.LevelInfo
		if len(needRestart) > 0 {
			level = slog.LevelWarn
		}
		attrs := []any{"changed", strings.Join(changed, ", "), "need_restart", strings.Join(needRestart, ", ")}
		if count > 1 {
			attrs = append(attrs, "count", count)
		}
		logger.Log(context.Background(), level, "reloaded", attrs...)
	})
}
