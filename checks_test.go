package main

import (
	"slices"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/target"
)

// Targets may come and go for ever: what is kept of those that are gone is one sum.
func TestCheckCountsOfRemovedTargets(t *testing.T) {
	var c checkCounts
	var last *target.Target
	for _, name := range []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"} {
		a, err := target.ParseAddress(name, false)
		if err != nil {
			t.Fatal(err)
		}
		last = target.New(a, nil)
		c.observe(last, true, time.Millisecond)
		c.observe(last, false, time.Millisecond)
		c.keep([]*target.Target{last})
		c.keep([]*target.Target{last})
	}
	want := []admin.Checks{{Target: last.String(), Passed: 1, Failed: 1}, {Target: removedTargets, Passed: 2, Failed: 2}}
	if got := c.counts(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
