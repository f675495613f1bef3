package traffic

import (
	"log/slog"
	"net/netip"
	"sync/atomic"

	"linesplit/internal/clientlimit"
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
	byAddr   clientlimit.Clients

	listeners atomic.Int32 // for connections, which are served now
}

// NewClients returns Clients that obey the settings in force in s. log may be nil.
func NewClients(s *Settings, log AccessLog, logger *slog.Logger) *Clients {
	return &Clients{settings: s, log: log, logger: logger}
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
	} else {
		set := c.settings.Load()
		limits := clientlimit.Limits{Connections: set.MaxConnectionsPerClient, Rate: set.RatePerClient}
		why = verdictEnds[c.byAddr.Admit(client, limits)]
	}
	if why != NotEnded {
		c.Active.Add(-1)
		c.Refuse(why, client)
	}
	return why
}

// Listen records that a listener for connections is being served. The caller calls stop when it is
// not any more.
func (c *Clients) Listen() (stop func()) {
	c.listeners.Add(1)
	return func() { c.listeners.Add(-1) }
}

// MaxSessions returns how many UDP sessions may be open at once. Datagrams whose senders' addresses
// are forged open a session each. So where connections are served, too, sessions take at most half
// of all places.
func (c *Clients) MaxSessions() int {
	set := c.settings.Load()
	if set.MaxConnections > 0 && c.listeners.Load() > 0 {
		return min(set.UDPSessions, max(1, set.MaxConnections/2))
	}
	return set.UDPSessions
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
	c.byAddr.Dismiss(client)
}

// verdictEnds are the ends of connections that are not admitted.
var verdictEnds = [...]End{
	clientlimit.Admitted: NotEnded, clientlimit.TooMany: EndClientLimit, clientlimit.TooFast: EndRateLimit,
}

// Recording reports whether there is an access log.
func (c *Clients) Recording() bool { return c.log != nil }

// Record writes rec to the access log, if there is one.
func (c *Clients) Record(rec Record) {
	if c.log != nil {
		c.log.Log(rec)
	}
}
