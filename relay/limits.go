package relay

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// clients knows how many connections each client address has, and how fast it makes them.
type clients struct {
	mu     sync.Mutex
	perIP  int                // 0 for any number
	counts map[netip.Addr]int // of those who are there, also without perIP: it may change
	rates  rates
}

func (c *clients) init() { c.counts = make(map[netip.Addr]int) }

func (c *clients) tune(t *Tuning) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.perIP = t.MaxConnectionsPerClient
	if t.RatePerClient != c.rates.per {
		c.rates = newRates(t.RatePerClient)
	}
}

// admit counts a client. Unless it returns notEnded the client has been refused, which is counted, too. Clients without an IP address
// are limited in all only.
func (r *Relay) admit(client netip.Addr) end {
	r.counters.accepted.Add(1)
	active := r.counters.active.Add(1)
	why := notEnded
	if most := r.tuned().MaxConnections; most > 0 && active > int64(most) {
		why = limit
	} else if client.IsValid() {
		why = r.clients.admit(client, time.Now())
	}
	if why != notEnded {
		r.counters.active.Add(-1)
		r.refuse(why)
	}
	return why
}

// dismiss is for each client that was admitted, at its end.
func (r *Relay) dismiss(client netip.Addr) {
	r.counters.active.Add(-1)
	if client.IsValid() {
		r.clients.dismiss(client)
	}
}

func (c *clients) admit(client netip.Addr, now time.Time) end {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rates.allow(client, now) {
		return rateLimit
	}
	if c.perIP > 0 && c.counts[client] >= c.perIP {
		return clientLimit
	}
	c.counts[client]++
	return notEnded
}

func (c *clients) dismiss(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.counts[client] - 1; n > 0 {
		c.counts[client] = n
	} else {
		delete(c.counts, client)
	}
}

// ratesMost bounds the memory: two generations of so many clients take about 16 MB. When more come within the time that a bucket takes
// to fill, the least recent of them get a new one, which is full.
const ratesMost = 32 << 10

// rates is a token bucket for each client, in two generations: who has not been seen for all of one is forgotten. By then its bucket
// is full again, so that nothing is lost.
type rates struct {
	per      float64 // per second; 0: no limit
	burst    int
	refill   time.Duration
	now, old map[netip.Addr]*rate.Limiter
	since    time.Time // when now began
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
	if len(r.now) >= ratesMost || now.Sub(r.since) > r.refill {
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
