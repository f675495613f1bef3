//go:build linux

package testrig

import (
	"testing"
	"time"
)

// Patience limits how long a test waits for an event. It is generous: a test that passes never
// reaches it, and a busy machine must not make one fail.
const Patience = 60 * time.Second

// pollEvery is the time between two checks of Poll: short compared with a test, long compared with
// a scrape of the metrics.
const pollEvery = 20 * time.Millisecond

// Poll calls done until it returns true or the time is up, and returns its last result.
func Poll(within time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(within); ; {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pollEvery)
	}
}

// WaitFor waits until done returns true. If that takes longer than Patience, it ends the test with
// an error that names what it waited for.
func WaitFor(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	if !Poll(Patience, done) {
		tb.Fatalf("timed out after %v: %s", Patience, what)
	}
}
