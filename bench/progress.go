//go:build linux

package main

import (
	"fmt"
	"math"
	"time"
)

// progress compares how much of the plan is done, in planned seconds, with the time that this has
// taken, and estimates how long the rest will take.
type progress struct {
	planned, done float64
	begun         time.Time
}

// planWeight is the number of seconds after which the measured pace counts as much as the plan.
const planWeight = 60

// Step adds planned seconds that are done.
func (p *progress) Step(seconds float64) { p.done += seconds }

// left estimates how long the rest will take, given the time since the start.
func (p *progress) left(elapsed time.Duration) time.Duration {
	pace := (elapsed.Seconds() + planWeight) / (p.done + planWeight)
	return time.Duration(max(p.planned-p.done, 0) * pace * float64(time.Second))
}

// String returns, for example, "42 %, 9 min left".
func (p *progress) String() string {
	percent := 100 * p.done / max(p.planned, 1)
	left := p.left(time.Since(p.begun))
	if left < 90*time.Second {
		return fmt.Sprintf("%3.0f %%, %.0f s left", percent, left.Seconds())
	}
	return fmt.Sprintf("%3.0f %%, %.0f min left", percent, math.Ceil(left.Minutes()))
}
