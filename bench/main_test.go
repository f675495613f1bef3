//go:build linux

package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestProgressEstimatesTheRest(t *testing.T) {
	for _, c := range []struct {
		done, elapsed float64
		want          time.Duration
	}{
		{0, 0, 600 * time.Second},
		{300, 300, 300 * time.Second},
		{300, 660, 600 * time.Second}, // twice as slow
		{600, 1000, 0},
	} {
		p := progress{planned: 600, done: c.done}
		if got := p.left(time.Duration(c.elapsed * float64(time.Second))); got != c.want {
			t.Errorf("%v of 600 s after %v s: %v left", c.done, c.elapsed, got)
		}
	}
	p := progress{planned: 600, done: 60, begun: time.Now()}
	// The pace so far is much faster than planned, but after so short a time the plan counts for
	// half.
	if got := p.String(); got != " 10 %, 5 min left" {
		t.Errorf("%q", got)
	}
}

func TestBadFlagsAreErrors(t *testing.T) {
	for _, args := range []string{
		"-only speed", "-only throughput,", "-reps 0", "-threads 0", "-linesplit /nowhere/linesplit", "-beside squid",
		"-linesplit-old /nowhere/linesplit", "-linesplit-old-flags -v", "more",
		"-disk /nowhere",
	} {
		err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}
