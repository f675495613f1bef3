package loglimit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestZeroLimiterLogsOneEventInThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		var l Limiter
		for range 61 { // at 0 s, 1 s, …, 60 s
			l.Warn(logger, "accept failed", slog.String("err", "too many open files"))
			time.Sleep(time.Second)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines, want one at 0 s, 30 s and 60 s:\n%s", len(lines), log.String())
		}
		for i, count := range []string{"count=1", "count=30", "count=30"} {
			if !strings.Contains(lines[i], count) || !strings.Contains(lines[i], "too many open files") {
				t.Errorf("line %d is %s, want %s", i, lines[i], count)
			}
		}
	})
}

func TestBurstIsLoggedInEachPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Limiter{Burst: 16, Period: 10 * time.Second}
		allowed := 0
		for range 100 {
			if _, ok := l.Allow(); ok {
				allowed++
			}
		}
		time.Sleep(10 * time.Second)
		suppressed, ok := l.Allow()
		if allowed != 16 || !ok || suppressed != 84 {
			t.Errorf("%d of 100 allowed, then %v with %d suppressed; want 16, true, 84", allowed, ok, suppressed)
		}
	})
}

func TestResetLetsTheNextEventThrough(t *testing.T) {
	var l Limiter
	l.Allow()
	l.Allow()
	l.Reset()
	if suppressed, ok := l.Allow(); !ok || suppressed != 0 {
		t.Errorf("Allow = %d, %v after Reset, want 0, true", suppressed, ok)
	}
}
