package send

import (
	"math"
	"time"
)

const (
	tick       = 5 * time.Millisecond   // shortest time between two writes of a paced client
	maxCatchUp = 250 * time.Millisecond // limit of what a delayed client catches up, so that no burst follows a stall
)

// pace computes how many events are due at a steady rate. The caller passes the time.
type pace struct {
	rate      float64   // per second; 0 is no limit
	doneUntil time.Time // all events due until then are done
}

// newPace returns a pace whose first event is due at once.
func newPace(rate float64, now time.Time) pace {
	p := pace{rate: rate, doneUntil: now}
	if rate > 0 {
		p.doneUntil = now.Add(-p.interval(1))
	}
	return p
}

// due returns how many events are due now. If there are none, it returns how long to wait for the
// next one.
func (p *pace) due(now time.Time) (n int, wait time.Duration) {
	if p.rate == 0 {
		return math.MaxInt, 0
	}
	p.doneUntil = later(p.doneUntil, now.Add(-maxCatchUp-p.interval(1)))
	if n = int(now.Sub(p.doneUntil).Seconds()*p.rate + 1e-6); n > 0 {
		return n, 0
	}
	return 0, max(tick, p.doneUntil.Add(p.interval(1)).Sub(now))
}

// done records that n events are done.
func (p *pace) done(n int) {
	if p.rate > 0 {
		p.doneUntil = p.doneUntil.Add(p.interval(n))
	}
}

func (p *pace) interval(n int) time.Duration {
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
