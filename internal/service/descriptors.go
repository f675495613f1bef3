package service

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/listen"
	"linesplit/target"
	"linesplit/workerpool"
)

// spareDescriptors are reserved for standard input and output, files that are read for a moment,
// name servers, the runtime, and connections that workers are leaving.
const spareDescriptors = 64

// budget divides the descriptors of the process among all that needs them. Every part of the sum
// has a limit of its own, so that clients can use up none that is needed elsewhere.
type budget struct {
	limit    int // of the process; 0: unknown
	reserved int // for all but clients
	each     int // for one client
}

// budgetFor returns the budget of a configuration with these targets, of one service alone.
func budgetFor(cfg config.Config, targets []target.Address) budget {
	b := budget{limit: descriptorLimit()}
	n := needOf(cfg, targets)
	b.reserved, b.each = sharedDescriptors(cfg, n.pipes, b.limit)+n.reserved+pendingHellos(n), n.each
	return b
}

// sharedDescriptors returns how many descriptors all services need together. Each event loop needs
// two. A sixteenth of all may be pipes, if any service needs them.
func sharedDescriptors(cfg config.Config, pipes bool, limit int) int {
	n := spareDescriptors + 2*cfg.Loops
	if pipes {
		n += limit / 16
	}
	if cfg.Admin != "" {
		n += admin.MaxConns + 2 // its listener, and a connection that takes the place of another
	}
	return n
}

// need is what one service needs.
type need struct {
	reserved int // for all but clients
	each     int // for one client
	clients  int // -max-connections

	leaving bool          // it takes no more clients
	pipes   bool          // see sharedDescriptors
	routed  []listen.Spec // listeners that are shared by server names
}

// needOf returns the need of a configuration with these targets. In line mode each worker needs two
// descriptors, since it has two connections while it changes targets. In connection mode each
// client needs two and pipes, and each event loop accepts from each listener, all but the first
// with a descriptor of their own.
func needOf(cfg config.Config, targets []target.Address) need {
	n := need{each: 1, clients: cfg.MaxConnections, routed: routedSpecs(cfg)}
	n.reserved = len(cfg.Listen) + pendingHeaders(cfg)
	if cfg.Mode == config.ConnectionMode {
		n.each, n.pipes = 2, true
		n.reserved += len(targets) // one check of each target
		n.reserved += len(cfg.Listen) * max(0, cfg.Loops-1)
		return n
	}
	if cfg.Health.Check.Enabled() {
		n.reserved += len(targets)
	}
	n.reserved += 2 * workersOf(cfg, targets)
	return n
}

// descriptors divides those of the process among its services. Clients that a service may have by
// its -max-connections are reserved for it. The rest is for the clients of the services without
// that limit, in equal parts, so that the clients of one cannot keep out those of another. Nothing
// is reserved for clients of a service that leaves, since those of the one in its place would have
// no room beside them; for a moment there may be fewer than both use. The zero value knows no
// limit.
type descriptors struct {
	limit int // of the process; 0: unknown

	mu    sync.Mutex // guards needs
	needs map[*service]need
}

// budget notes what s needs now, and returns its budget.
func (d *descriptors) budget(s *service, cfg config.Config, targets []target.Address) budget {
	d.mu.Lock()
	defer d.mu.Unlock()
	mine := needOf(cfg, targets)
	mine.leaving = s.yields.Load()
	if d.needs == nil {
		d.needs = map[*service]need{}
	}
	d.needs[s] = mine
	b := budget{limit: d.limit, reserved: mine.reserved, each: mine.each}
	all := slices.Collect(maps.Values(d.needs))
	open, pipes := 0, false // services without a limit of their own; whether any needs pipes
	for other, n := range d.needs {
		pipes = pipes || n.pipes
		if n.clients == 0 && (!n.leaving || other == s) {
			open++
		}
		if other != s {
			b.reserved += n.reserved
		}
		if other != s && !n.leaving {
			b.reserved += n.clients * n.each
		}
	}
	b.reserved += sharedDescriptors(cfg, pipes, d.limit) + pendingHellos(all...)
	if free := d.limit - b.reserved; mine.clients == 0 && free > 0 {
		b.reserved += free - free/open
	} else if mine.clients > 0 {
		b.reserved += 2 * open // a client each
	}
	return b
}

// forget leaves what s had to the others.
func (d *descriptors) forget(s *service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.needs, s)
}

// clients returns how many clients may be connected where want is -max-connections. 0 means no
// limit.
func (b budget) clients(want int) int {
	if b.limit == 0 {
		return want
	}
	fit := max(1, b.fit())
	if want == 0 {
		return fit
	}
	return min(want, fit) // targets that were added since the start need some
}

func (b budget) fit() int { return (b.limit - b.reserved) / b.each }

// check returns an error if the descriptors do not suffice for what is reserved and as many clients
// as want says, or one client where that is 0.
func (b budget) check(want int) error {
	const hint = "raise the limit (ulimit -n, LimitNOFILE= in systemd, --ulimit nofile= in Docker)"
	switch {
	case b.limit == 0, b.fit() >= max(1, want):
		return nil
	case b.fit() < 1:
		return fmt.Errorf("the limit of %d open files leaves none for clients, since %d are reserved for targets, "+
			"the admin listener and the rest: %s, or have fewer targets or -connections", b.limit, b.reserved, hint)
	}
	return fmt.Errorf("-max-connections %d does not fit the limit of %d open files: %d are reserved for targets, "+
		"the admin listener and the rest, which leaves room for %d clients: %s, or lower -max-connections",
		want, b.limit, b.reserved, b.fit(), hint)
}

// maxClients limits the clients so that enough descriptors are left for everything else. 0 means no
// limit.
func (s *service) maxClients(cfg config.Config, targets []target.Address) int {
	return s.shared.descriptors.budget(s, cfg, targets).clients(cfg.MaxConnections)
}

// checkDescriptors returns an error if the descriptors of the process do not suffice for a
// configuration of s with these targets, beside the other services.
func (s *service) checkDescriptors(cfg config.Config, targets []target.Address) error {
	return s.shared.descriptors.budget(s, cfg, targets).check(cfg.MaxConnections)
}

// workersOf returns how many connections line mode has to the targets.
func workersOf(cfg config.Config, targets []target.Address) (n int) {
	groups := []string{config.MainGroup}
	for _, g := range cfg.Groups {
		groups = append(groups, g.Name)
	}
	for _, g := range groups {
		for _, share := range workerpool.Shares(config.InGroup(targets, g), cfg.Connections) {
			n += share
		}
	}
	return n
}

// register makes the need of s known to the other services.
func (s *service) register() {
	cfg := s.cfg.Load()
	s.shared.descriptors.budget(s, *cfg, cfg.Targets)
}

// yield notes whether the service leaves its clients' descriptors to others.
func (s *service) yield(yields bool) {
	s.yields.Store(yields)
	if s.works() {
		s.register()
	}
}

// unregister undoes register and open.
func (s *service) unregister() {
	s.shared.descriptors.forget(s)
	s.shared.rounds.remove(s)
}

// pendingHeaders returns the maximum number of connections whose PROXY header has not arrived yet.
func pendingHeaders(cfg config.Config) int {
	if len(cfg.Access.ProxyFrom) == 0 {
		return 0
	}
	return listen.MaxPendingHeaders
}
