package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// waitingMode is a mode that only ever waits.
type waitingMode struct{ mode }

func (waitingMode) waitsFor() []any { return []any{"senders", 3} }

// During a drain of minutes, the log said nothing of what it waited for.
func TestDrainIsLoggedWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &service{logger: slog.New(slog.NewTextHandler(&log, nil)), mode: waitingMode{}}
		soft, endSoft := context.WithCancel(t.Context())
		stop := s.logDrain(soft)
		time.Sleep(time.Hour)
		endSoft()
		time.Sleep(25 * time.Second)
		stop()
		text := log.String()
		if strings.Count(text, "\n") != 2 || !strings.Contains(text, `level=INFO msg="drain goes on" since=10s senders=3`) ||
			!strings.Contains(text, " since=20s ") {
			t.Errorf("log: %q", text)
		}
	})
}

func TestDrainLogNamesTheTargetsThatHoldItUp(t *testing.T) {
	counts := []targetCount{{"idle", 0}}
	for n := range int64(drainLogTargets + 1) {
		counts = append(counts, targetCount{fmt.Sprint("t", n+1), n + 1})
	}
	got := byTarget("lines_of", counts).Value.Group()
	if len(got) != drainLogTargets || !got[0].Equal(slog.Int64("t11", 11)) || !got[9].Equal(slog.Int64("t2", 2)) {
		t.Errorf("got %v", got)
	}
}

func TestModesTellWhatTheyWaitFor(t *testing.T) {
	for mode, want := range map[string]string{
		"line":       "senders=0 target_connections=0 unconfirmed_lines=0 unconfirmed_bytes=0",
		"connection": "connections=0 connections_waiting=0",
	} {
		var log bytes.Buffer
		s := wired(t, "-mode", mode, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:9")
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", s.mode.waitsFor()...)
		if !strings.Contains(log.String(), want) {
			t.Errorf("-mode %s: %q, want %q", mode, log.String(), want)
		}
	}
}
