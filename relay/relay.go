// Package relay carries whole connections between clients and targets, byte for byte both ways.
//
//	listener ─▶ accept ─▶ one goroutine that admits, shakes hands, and connects ─▶ two that carry, one a direction
//	                       (limits)  (TLS)           (group: balancer, queue)
//
// A connection is one conn. Its client and its target are sides; its two directions are flows.
//
// The rooms inside: internal/traffic has what connections and sessions of datagrams have in common, internal/upstream the targets,
// internal/splice what carries bytes, and internal/datagram sessions of datagrams.
package relay

import (
	"log/slog"
	"slices"
	"sync"

	"linesplit/internal/loglimit"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
	"linesplit/target"
)

// Options are the settings of a Relay. Zero values mean the default that each field names.
type Options struct {
	Tuning
	// Targets in the order of the configuration, each name once. Those with target.SchemeUDP get datagrams, the others connections.
	Targets []*target.Target
	// Balance is a name that ParseBalance knows: round-robin.
	Balance string
	// AccessLog gets one record for each connection at its end. nil for none.
	AccessLog AccessLog
	// ConnectSeconds gets the duration of each successful dial, TLS handshake included. nil for none.
	ConnectSeconds interface{ Observe(seconds float64) }
	// Logger gets changes of state, and repeated failures in sum. nil discards.
	Logger *slog.Logger
}

// Relay carries connections from any number of listeners to its targets. All its methods are safe for concurrent use.
type Relay struct {
	logger   *slog.Logger
	settings traffic.Settings
	clients  *traffic.Clients
	backends *upstream.Backends
	carrier  *splice.Carrier // buffers, and pipes where there are any

	acceptFailed, handshakesFailed loglimit.Limiter

	mu       sync.Mutex
	services []service // those that run; guarded by mu
}

// service is one call of Serve or ServePackets, to those who have news for it. None of its methods waits for anything.
type service interface {
	// Wake has it look again at the settings and the targets.
	Wake()
	// Expel ends the connections at b, which has been marked as expelled.
	Expel(b *upstream.Backend)
	// Connections returns some of its connections, at most so many.
	Connections(most int) []Connection
}

// New returns a Relay that forwards to o.Targets. It starts nothing yet. A Balance that ParseBalance does not know is round-robin.
func New(o Options) *Relay {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Relay{logger: o.Logger, carrier: splice.NewCarrier()}
	r.settings.Store(o.Tuning)
	r.clients = traffic.NewClients(&r.settings, o.AccessLog)
	r.backends = upstream.New(upstream.Options{
		Targets:        o.Targets,
		Balance:        o.Balance,
		Settings:       &r.settings,
		ConnectSeconds: o.ConnectSeconds,
		Expel:          r.expel,
		Logger:         o.Logger,
	})
	return r
}

// tuned returns the settings that hold now; nobody changes them.
func (r *Relay) tuned() *Tuning { return r.settings.Load() }

// expel has every service end its connections at b.
func (r *Relay) expel(b *upstream.Backend) {
	for _, v := range r.allServices() {
		v.Expel(b)
	}
}

// enter makes v known to those who have news.
func (r *Relay) enter(v service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = append(r.services, v)
}

// leave is enter's end. It also gives back what is kept for the next connection, once there will be none.
func (r *Relay) leave(v service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = slices.DeleteFunc(r.services, func(w service) bool { return w == v })
	if len(r.services) == 0 {
		r.carrier.Trim(true)
	}
}

// allServices returns those that are to be told something, without the lock.
func (r *Relay) allServices() []service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.services)
}

func (r *Relay) wakeServices() {
	for _, v := range r.allServices() {
		v.Wake()
	}
}
