// Package relay carries whole connections between clients and targets, byte for byte in both
// directions. It also forwards datagrams.
//
//	listener ─▶ an event loop: accept, limits ─▶ an event loop: choice, connect, both directions
//	listener ─▶ accept ─▶ one goroutine: handshake, dial ─▶ two goroutines, one per direction
//	            (limits)       (TLS)   (balancer, queue)     (splice)
//
// Event loops carry plain connections, on Linux, and goroutines all others. A link is a connection
// on a loop, a conn one with goroutines. Its client and its target are sides, and its two
// directions streams or flows. Both follow the same rules, which stand in search.go (which target
// is tried when), silence.go (timeouts) and the comments of end.go (halves, resets, what is
// delivered before them).
//
// The packages below relay, none of which imports it:
//
//	internal/traffic   settings, limits on clients, counters, reasons for an end, access log records
//	internal/upstream  the targets: choice, queue, dial, changes at run time
//	internal/splice    carries the bytes between two sockets
//	internal/datagram  UDP sessions
package relay

import (
	"log/slog"
	"slices"
	"sync"

	"linesplit/internal/loglimit"
	"linesplit/internal/loop"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
	"linesplit/target"
)

// Options are the settings of a Relay. The zero value of each field means its default.
type Options struct {
	Tuning
	// Targets are the targets in the order of the configuration, each name once. Those with
	// target.SchemeUDP get datagrams, the others connections.
	Targets []*target.Target
	// Balance is the name of a balancer: RoundRobin. An unknown name means RoundRobin, too.
	Balance string
	// AccessLog gets a record of each connection when it ends. nil for none.
	AccessLog AccessLog
	// ConnectSeconds gets the duration of each successful dial, TLS handshake included. nil for
	// none.
	ConnectSeconds interface{ Observe(seconds float64) }
	// Loops is the number of event loops that carry plain connections, on Linux. With 0, and on
	// other systems, goroutines carry them, as they carry those with TLS.
	Loops int
	// SharedLoops has the event loops that others use, too. nil: the Relay has its own.
	SharedLoops *loop.Shared
	// Carrier has the buffers and pipes that other Relays use, too. nil: the Relay has its own.
	Carrier *Carrier
	// Logger gets changes of state, and repeated failures as a summary. nil discards them.
	Logger *slog.Logger
}

// Carrier holds the buffers and pipes of connections, within limits of its own.
type Carrier = splice.Carrier

// NewCarrier returns a Carrier for several Relays.
func NewCarrier() *Carrier { return splice.NewCarrier() }

// Relay carries connections from any number of listeners to its targets. Its methods are safe for
// concurrent use.
type Relay struct {
	logger   *slog.Logger
	settings traffic.Settings
	clients  *traffic.Clients
	backends *upstream.Backends
	carrier  *splice.Carrier // buffers and, on Linux, pipes

	acceptFailed     loglimit.Limiter
	handshakesFailed loglimit.Kinds // by tlsconf.HandshakeFault

	mu       sync.Mutex // guards services
	services []service  // calls of Serve and ServePackets that run

	wantLoops int          // Options.Loops
	shared    *loop.Shared // the event loops, while Serve runs
}

// service is one call of Serve or ServePackets. Its methods do not block.
type service interface {
	// Wake makes it obey changed settings and targets.
	Wake()
	// Expel ends the connections to b, which is Expelled.
	Expel(b *upstream.Backend)
	// Connections returns at most limit of its open connections.
	Connections(limit int) []Connection
}

// New returns a Relay that forwards to o.Targets. It starts no goroutine.
func New(o Options) *Relay {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Relay{logger: o.Logger, carrier: o.Carrier, wantLoops: o.Loops, shared: o.SharedLoops}
	if r.carrier == nil {
		r.carrier = NewCarrier()
	}
	if r.shared == nil {
		r.shared = new(loop.Shared)
	}
	r.settings.Store(o.Tuning)
	r.clients = traffic.NewClients(&r.settings, o.AccessLog, o.Logger)
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

// tuned returns the settings in force. They are never modified in place.
func (r *Relay) tuned() *Tuning { return r.settings.Load() }

// expel makes every service end its connections to b.
func (r *Relay) expel(b *upstream.Backend) {
	for _, v := range r.allServices() {
		v.Expel(b)
	}
}

// register adds v to the services.
func (r *Relay) register(v service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = append(r.services, v)
}

// unregister undoes register. When the last service has ended, it closes the pipes kept for further
// connections.
func (r *Relay) unregister(v service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = slices.DeleteFunc(r.services, func(w service) bool { return w == v })
	if len(r.services) == 0 {
		r.carrier.Trim(true)
	}
}

// allServices returns a copy, so that r.mu is not held while their methods run.
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
