package loglimit

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestZeroLimiterLogsOneEventInThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedLog
		logger := slog.New(slog.NewTextHandler(&log, nil))
		var l Limiter
		for range 67 { // at 0 s, 0.9 s, …, 59.4 s
			l.Warn(logger, "accept failed", slog.String("err", "too many open files"))
			time.Sleep(900 * time.Millisecond)
		}
		l.Flush()
		wantLines(t, &log, "too many open files\"\n", "count=33", "count=33")
	})
}

// Events that are not followed by another one for a long time were never logged: the line that
// would have counted them was the next event's.
func TestHeldBackEventsAreLoggedWhenThePeriodEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedLog
		logger := slog.New(slog.NewTextHandler(&log, nil))
		var l Limiter
		for i := range 5 {
			l.Warn(logger, "refused", slog.Int("peer", i))
		}
		wantLines(t, &log, "peer=0\n")
		time.Sleep(DefaultPeriod)
		synctest.Wait()
		wantLines(t, &log, "peer=0\n", "peer=4 count=4")
		time.Sleep(time.Hour)
		l.Flush()
		wantLines(t, &log, "peer=0\n", "peer=4 count=4")
		l.Warn(logger, "refused", slog.Int("peer", 5))
		wantLines(t, &log, "peer=0\n", "peer=4 count=4", "peer=5\n")
	})
}

func TestFlushLogsWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedLog
		logger := slog.New(slog.NewTextHandler(&log, nil))
		var l Limiter
		for i := range 3 {
			l.Warn(logger, "refused", slog.Int("peer", i))
		}
		l.Flush()
		l.Flush()
		wantLines(t, &log, "peer=0\n", "peer=2 count=2")
		time.Sleep(time.Hour)
		synctest.Wait()
		wantLines(t, &log, "peer=0\n", "peer=2 count=2")
	})
}

// Two messages that alternate share a Limiter, so that the last line tells the present state.
func TestLastLineIsTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedLog
		logger := slog.New(slog.NewTextHandler(&log, nil))
		l := Limiter{Burst: 2}
		for range 100 {
			l.Warn(logger, "down")
			l.Log(logger, slog.LevelInfo, "up")
			time.Sleep(time.Second)
		}
		time.Sleep(DefaultPeriod)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) > 2+130/30 || !strings.Contains(lines[len(lines)-1], "msg=up") {
			t.Errorf("%d lines, want at most 10 and \"up\" last:\n%s", len(lines), log.String())
		}
	})
}

// Whatever the rhythm of the events, each of them is in the count of exactly one line, and no line
// follows another within a period once the burst is over.
func TestEveryEventIsCountedOnce(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			l := Limiter{Burst: 1 + rnd.IntN(3), Period: time.Second}
			var counted, lines atomic.Int64
			count := func(n int) { counted.Add(int64(n)); lines.Add(1) }
			events := 1 + rnd.IntN(500)
			begin := time.Now()
			for range events {
				l.Do(count)
				time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			}
			seconds := int64(time.Since(begin)/time.Second) + 1
			l.Flush()
			if counted.Load() != int64(events) || lines.Load() > int64(l.Burst)+seconds+1 {
				t.Errorf("seed %d: %d lines count %d of %d events in %d s", seed, lines.Load(), counted.Load(), events, seconds)
			}
		})
	}
}

// lockedLog is a log that a timer may write to while the test reads it.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wantLines compares the log with one part of each of its lines.
func wantLines(t *testing.T, log *lockedLog, parts ...string) {
	t.Helper()
	lines := strings.SplitAfter(log.String(), "\n")
	lines = lines[:len(lines)-1]
	if len(lines) != len(parts) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(parts), log.String())
	}
	for i, part := range parts {
		if !strings.Contains(lines[i], part) {
			t.Errorf("line %d is %swant %q", i, lines[i], part)
		}
	}
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
