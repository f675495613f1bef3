package traffic

import (
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"linesplit/internal/loglimit"
)

// Clients admits the clients of a relay, counts them and records their ends. Its methods are safe
// for concurrent use.
type Clients struct {
	Counters
	settings *Settings
	log      AccessLog
	logger   *slog.Logger
	refusals [numEnds]loglimit.Limiter // of clients over a limit, by reason
	ids      atomic.Uint64             // of connections

	mu     sync.Mutex         // guards the fields below
	counts map[netip.Addr]int // admitted clients; kept without a limit, too, since one may be set
	rates  rates
}

// NewClients returns Clients that obey the settings in force in s. log may be nil.
func NewClients(s *Settings, log AccessLog, logger *slog.Logger) *Clients {
	return &Clients{settings: s, log: log, logger: logger, counts: make(map[netip.Addr]int)}
}

// NextID returns the ID of a new connection.
func (c *Clients) NextID() uint64 { return c.ids.Add(1) }

// Admit counts a client, and returns NotEnded if it is within all limits. Otherwise it counts a
// refusal and returns the reason. The limits per address do not apply to clients without one.
func (c *Clients) Admit(client netip.Addr) End {
	c.Accepted.Add(1)
	active := c.Active.Add(1)
	why := NotEnded
	if limit := c.settings.Load().MaxConnections; limit > 0 && active > int64(limit) {
		why = EndLimit
	} else if client.IsValid() {
		why = c.admitAddr(client, time.Now())
	}
	if why != NotEnded {
		c.Active.Add(-1)
		c.Refuse(why, client)
	}
	return why
}

// Refuse counts a client that a limit refuses, and logs such clients in sum for each reason.
func (c *Clients) Refuse(why End, client netip.Addr) {
	c.CountRefusal(why)
	attrs := []slog.Attr{slog.String("reason", why.String())}
	if client.IsValid() {
		attrs = append(attrs, slog.Any("client", client))
	}
	c.refusals[why].Warn(c.logger, "client refused", attrs...)
}

// FlushLog logs the refusals that are held back to be reported in sum.
func (c *Clients) FlushLog() {
	for why := range c.refusals {
		c.refusals[why].Flush()
	}
}

// Dismiss undoes Admit when an admitted client has ended.
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

// Recording reports whether there is an access log.
func (c *Clients) Recording() bool { return c.log != nil }

// Record writes rec to the access log, if there is one.
func (c *Clients) Record(rec Record) {
	if c.log != nil {
		c.log.Log(rec)
	}
}

// maxRates limits the clients of one generation, and so the memory: two generations take about 16
// MB. If more clients come in the time that a bucket takes to fill, the least recent ones get a new
// bucket, which is full.
const maxRates = 32 << 10

// rates holds a token bucket for each client, in two generations. A client that was not seen for a
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
