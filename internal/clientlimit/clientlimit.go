// Package clientlimit limits the connections of each client: how many there are at one time, and
// how fast new ones come. Clients are told apart by [Network].
package clientlimit

import (
	"net/netip"
	"sync"
	"time"
)

// Limits are what one client may have. The zero value limits nothing.
type Limits struct {
	Connections int     // at one time; 0 for no limit
	Rate        float64 // new connections per second; 0 for no limit
}

// Verdict is the answer of [Clients.Admit].
type Verdict int

// The verdicts.
const (
	Admitted Verdict = iota
	TooMany          // Limits.Connections is reached
	TooFast          // Limits.Rate is exceeded
)

// Clients counts the connections of each network. The zero value is ready to use. Its methods are
// safe for concurrent use.
type Clients struct {
	mu     sync.Mutex         // guards the fields below
	counts map[netip.Addr]int // admitted connections by Network; kept without a limit, too, since one may be set
	rates  rates
}

// Admit counts a connection of client if it is within limits. The caller then calls Dismiss at its
// end. An address that is not valid is always admitted, and not counted.
func (c *Clients) Admit(client netip.Addr, limits Limits) Verdict {
	if !client.IsValid() {
		return Admitted
	}
	client = Network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if limits.Rate != c.rates.per {
		c.rates = newRates(limits.Rate)
	}
	if !c.rates.allow(client, time.Now()) {
		return TooFast
	}
	if limits.Connections > 0 && c.counts[client] >= limits.Connections {
		return TooMany
	}
	if c.counts == nil {
		c.counts = make(map[netip.Addr]int)
	}
	c.counts[client]++
	return Admitted
}

// Dismiss undoes Admit when an admitted connection has ended.
func (c *Clients) Dismiss(client netip.Addr) {
	if !client.IsValid() {
		return
	}
	client = Network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.counts[client] - 1; n > 0 {
		c.counts[client] = n
	} else {
		delete(c.counts, client)
	}
}
