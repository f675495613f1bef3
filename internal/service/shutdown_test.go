package service

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The soft context ended before the goroutine that logs the drain had run, so that a short drain
// was logged to end before it began.
func TestDrainIsLoggedBeforeItBegins(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	var log bytes.Buffer
	soft, hard, stop := shutdownContexts(ctx, func() time.Duration { return time.Minute },
		slog.New(slog.NewTextHandler(&log, nil)))
	end()
	<-soft.Done()
	if hard.Err() != nil || !strings.Contains(log.String(), `msg="drain began" cause="context canceled" drain_timeout=1m0s`) {
		t.Errorf("the hard context: %v; the log: %q", hard.Err(), log.String())
	}
	stop()
	if hard.Err() == nil {
		t.Error("stop did not end the hard context")
	}
}

// A signal that was sent to the process and to its group ended the drain as it began, and one that
// was sent so to end the drain killed the process before its report.
func TestSignalsWithinASecondAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		signals := make(chan os.Signal, 2)
		soft, endSoft := context.WithCancel(t.Context())
		hard, endHard := context.WithCancel(t.Context())
		w := endWatcher{signals: signals, stopped: make(chan struct{}), logger: slog.New(slog.NewTextHandler(&log, nil))}
		go w.watch(t.Context(), func() time.Duration { return time.Hour }, endSoft, endHard)
		defer close(w.stopped)
		send := func(after time.Duration, s os.Signal, wantSoft, wantHard bool, wantRepetitions int) {
			t.Helper()
			time.Sleep(after)
			signals <- s
			synctest.Wait()
			repetitions := strings.Count(log.String(), "repetition")
			if ended := soft.Err() != nil; ended != wantSoft || (hard.Err() != nil) != wantHard || repetitions != wantRepetitions {
				t.Errorf("soft ended: %v, hard ended: %v, repetitions: %d, want %v, %v, %d\n%s",
					ended, hard.Err() != nil, repetitions, wantSoft, wantHard, wantRepetitions, &log)
			}
		}
		send(time.Minute, syscall.SIGTERM, true, false, 0)
		send(0, syscall.SIGTERM, true, false, 1)
		send(RepeatedWithin-1, os.Interrupt, true, false, 2)
		send(1, syscall.SIGTERM, true, true, 2)
		send(0, syscall.SIGTERM, true, true, 3)
	})
}

// Where the drain timeout is shorter than the time for repetitions, a repetition killed the process
// before its report.
func TestRepetitionAfterTheDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		signals := make(chan os.Signal, 2)
		hard, endHard := context.WithCancel(t.Context())
		w := endWatcher{signals: signals, stopped: make(chan struct{}), logger: slog.New(slog.NewTextHandler(&log, nil))}
		began := time.Now()
		signals <- syscall.SIGTERM
		go func() {
			<-hard.Done()
			signals <- syscall.SIGTERM
		}()
		w.watch(t.Context(), func() time.Duration { return time.Millisecond }, func() {}, endHard)
		if took := time.Since(began); took != RepeatedWithin || strings.Count(log.String(), "repetition") != 1 {
			t.Errorf("watched for %v\n%s", took, &log)
		}
	})
}
