package service

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// The soft context ended before the goroutine that logs the drain had run, so that a short drain was
// logged to end before it began.
func TestDrainIsLoggedBeforeItBegins(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	var log bytes.Buffer
	soft, hard, stop := shutdownContexts(ctx, func() time.Duration { return time.Minute },
		slog.New(slog.NewTextHandler(&log, nil)))
	end()
	<-soft.Done()
	if hard.Err() != nil || !strings.Contains(log.String(), `msg="drain began" cause="end of input" drain_timeout=1m0s`) {
		t.Errorf("the hard context: %v; the log: %q", hard.Err(), log.String())
	}
	stop()
	if hard.Err() == nil {
		t.Error("stop did not end the hard context")
	}
}
