package clientlimit

import (
	"math"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// maxRates limits the clients of one generation, and so the memory: two generations take about 16
// MB. If more clients come in the time that a bucket takes to fill, the least recent ones get a new
// bucket, which is full.
const maxRates = 32 << 10

// rates holds a token bucket for each network, in two generations. A client that was not seen for a
// whole generation is forgotten. By then its bucket is full again, so that nothing is lost.
type rates struct {
	per      float64 // connections per second; 0 for no limit
	burst    int
	refill   time.Duration // time in which an empty bucket fills
	now, old map[netip.Addr]*rate.Limiter
	since    time.Time // start of generation now
}

func newRates(per float64) rates {
	if per <= 0 {
		return rates{}
	}
	burst := max(1, int(math.Ceil(min(per, 1<<30))))
	return rates{
		per:    per,
		burst:  burst,
		refill: time.Duration(float64(burst) / per * float64(time.Second)),
		now:    make(map[netip.Addr]*rate.Limiter),
	}
}

func (r *rates) allow(client netip.Addr, now time.Time) bool {
	if r.per == 0 {
		return true
	}
	if len(r.now) >= maxRates || now.Sub(r.since) > r.refill {
		r.old, r.now, r.since = r.now, make(map[netip.Addr]*rate.Limiter), now
	}
	l := r.now[client]
	if l == nil {
		if l = r.old[client]; l == nil {
			l = rate.NewLimiter(rate.Limit(r.per), r.burst)
		}
		r.now[client] = l
	}
	return l.AllowN(now, 1)
}
