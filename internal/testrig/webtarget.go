//go:build linux

package testrig

import (
	"testing"

	"linesplit/internal/simulate/websink"
)

// WebTarget is a target that takes lines in HTTP requests, in this process. Its errors fail the
// test.
type WebTarget struct {
	*websink.Sink
	tb testing.TB
}

// NewWebStore returns what one WebTarget, or several nodes of one, have taken. It counts into t.
func NewWebStore(t *Tally) *websink.Store { return websink.NewStore(t.Tally) }

// NewWebTarget starts a target on an address of its own. It is closed when the test ends.
func NewWebTarget(tb testing.TB, store *websink.Store, bulk bool) *WebTarget {
	tb.Helper()
	w, err := websink.Start(store, bulk)
	if err != nil {
		tb.Fatalf("target: %v", err)
	}
	tb.Cleanup(w.Stop)
	return &WebTarget{w, tb}
}

// Listen starts the server where it was.
func (w *WebTarget) Listen() {
	w.tb.Helper()
	if err := w.Sink.Listen(); err != nil {
		w.tb.Fatalf("target: %v", err)
	}
}
