package send

import (
	"math"
	"time"
)

const (
	beat    = 5 * time.Millisecond   // how often a paced client writes at most
	maxDebt = 250 * time.Millisecond // what somebody who was held back catches up at most: no flood behind a stall
)

// pace says how many of something are due at a steady rate. The caller says what time it is.
type pace struct {
	rate float64   // per second; 0 is no limit
	paid time.Time // everything due until then has been done
}

// newPace returns a pace whose first one is due at once.
func newPace(rate float64, now time.Time) pace {
	p := pace{rate: rate, paid: now}
	if rate > 0 {
		p.paid = now.Add(-p.interval(1))
	}
	return p
}

// due returns how many are to be done by now, and where that is none, how long there will be none.
func (p *pace) due(now time.Time) (n int, wait time.Duration) {
	if p.rate == 0 {
		return math.MaxInt, 0
	}
	p.paid = later(p.paid, now.Add(-maxDebt-p.interval(1)))
	if n = int(now.Sub(p.paid).Seconds()*p.rate + 1e-6); n > 0 {
		return n, 0
	}
	return 0, max(beat, p.paid.Add(p.interval(1)).Sub(now))
}

// done notes that n have been done.
func (p *pace) done(n int) {
	if p.rate > 0 {
		p.paid = p.paid.Add(p.interval(n))
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
