//go:build linux

package main

import (
	"fmt"
	"math"
	"time"
)

// progress knows how much is done, in seconds as they were planned, and tells from the time that this took how long the rest will.
type progress struct {
	planned, done float64
	begun         time.Time
}

// trust is how many seconds must have passed before what was measured weighs as much as the plan does.
const trust = 60

// Step says that so much more is done.
func (p *progress) Step(seconds float64) { p.done += seconds }

// left returns how long the rest will take, now being so long after the beginning.
func (p *progress) left(elapsed time.Duration) time.Duration {
	pace := (elapsed.Seconds() + trust) / (p.done + trust)
	return time.Duration(max(p.planned-p.done, 0) * pace * float64(time.Second))
}

// String returns something like "42 %, 9 min left".
func (p *progress) String() string {
	percent := 100 * p.done / max(p.planned, 1)
	left := p.left(time.Since(p.begun))
	if left < 90*time.Second {
		return fmt.Sprintf("%3.0f %%, %.0f s left", percent, left.Seconds())
	}
	return fmt.Sprintf("%3.0f %%, %.0f min left", percent, math.Ceil(left.Minutes()))
}
