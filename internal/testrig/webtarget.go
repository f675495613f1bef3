//go:build linux

package testrig

import (
	"testing"

	"linesplit/internal/simulate/websink"
)

// WebTarget is a target that takes lines in HTTP requests, in this process. Its errors fail the
// test.
type WebTarget struct {
	sink *websink.Target
	tb   testing.TB
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

// Target returns the address of the target.
func (w *WebTarget) Target() string { return w.sink.URL() }

// Listen starts the server where it was.
func (w *WebTarget) Listen() {
	w.tb.Helper()
	if err := w.sink.Listen(); err != nil {
		w.tb.Fatalf("target: %v", err)
	}
}

// Stop ends the server and all its connections at once.
func (w *WebTarget) Stop() { w.sink.Stop() }

// Fail makes the target fail at random from now on; a seed of 0 ends that.
func (w *WebTarget) Fail(seed uint64) { w.sink.Fail(seed) }

// Refuse makes the target refuse for good the lines for which refuse returns true.
func (w *WebTarget) Refuse(refuse func(line []byte) bool) { w.sink.Refuse(refuse) }
