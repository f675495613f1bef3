package service

import (
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/target"
)

// Targets may come and go without end: all that is kept of removed ones is one sum.
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
	got := admin.Status{Targets: []admin.TargetStatus{{Name: last.String()}}}
	c.describe(&got)
	if s := got.Targets[0]; s.ChecksPassed != 1 || s.ChecksFailed != 1 {
		t.Errorf("%+v, want 1 passed and 1 failed", s)
	}
	if s := got.Removed; s == nil || s.ChecksPassed != 2 || s.ChecksFailed != 2 || len(c.by) != 1 {
		t.Errorf("%+v and %d kept, want 2 passed and 2 failed, and 1 kept", s, len(c.by))
	}
}
