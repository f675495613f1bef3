package traffic

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Clients knows the clients of a relay: it admits them, counts them, and records their ends.
type Clients struct {
	Counters
	settings *Settings
	log      AccessLog
	ids      atomic.Uint64 // of connections

	mu     sync.Mutex
	counts map[netip.Addr]int // of those who are there, also without a limit: it may change
	rates  rates
}

// NewClients returns one without clients. log may be nil.
func NewClients(s *Settings, log AccessLog) *Clients {
	return &Clients{settings: s, log: log, counts: make(map[netip.Addr]int)}
}

// NextID returns a connection's ID.
func (c *Clients) NextID() uint64 { return c.ids.Add(1) }

// Admit counts a client. Unless it returns NotEnded the client has been refused, which is counted, too. Clients without an IP address
// are limited in all only.
func (c *Clients) Admit(client netip.Addr) End {
	c.Accepted.Add(1)
	active := c.Active.Add(1)
	why := NotEnded
	if most := c.settings.Load().MaxConnections; most > 0 && active > int64(most) {
		why = EndLimit
	} else if client.IsValid() {
		why = c.admitAddr(client, time.Now())
	}
	if why != NotEnded {
		c.Active.Add(-1)
		c.Refuse(why)
	}
	return why
}

// Dismiss is for each client that was admitted, at its end.
func (c *Clients) Dismiss(client netip.Addr) {
	c.Active.Add(-1)
	if client.IsValid() {
		c.dismissAddr(client)
	}
}

func (c *Clients) admitAddr(client netip.Addr, now time.Time) End {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.settings.Load()
	if set.RatePerClient != c.rates.per {
		c.rates = newRates(set.RatePerClient)
	}
	if !c.rates.allow(client, now) {
		return EndRateLimit
	}
	if limit := set.MaxConnectionsPerClient; limit > 0 && c.counts[client] >= limit {
		return EndClientLimit
	}
	c.counts[client]++
	return NotEnded
}

func (c *Clients) dismissAddr(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.counts[client] - 1; n > 0 {
		c.counts[client] = n
	} else {
		delete(c.counts, client)
	}
}

// Recording says whether there is an access log.
func (c *Clients) Recording() bool { return c.log != nil }

// Record writes to the access log, if there is one.
func (c *Clients) Record(rec Record) {
	if c.log != nil {
		c.log.Log(rec)
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
