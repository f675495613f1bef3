//go:build linux

package testrig

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen sooner or later. It is
// generous: a passing test never waits for it, and a busy machine must not fail one.
const Patience = 60 * time.Second

// pollEvery is the time between two looks of Poll: short beside a test, long
// beside a scrape of the metrics.
const pollEvery = 20 * time.Millisecond

// Poll looks until done says true or the time is up, and says whether it did.
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

// WaitFor polls for Patience and ends the test, naming what it waited for, if it
// did not come.
func WaitFor(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	if !Poll(Patience, done) {
		tb.Fatalf("waited %v in vain: %s", Patience, what)
	}
}
