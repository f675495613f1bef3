package service

import (
	"fmt"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/listen"
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

// budgetFor returns the budget of a configuration with a number of targets. Each event loop needs
// two descriptors. In line mode each worker needs two, since it has two connections while it
// changes targets. In connection mode each client needs two, a sixteenth of all may be pipes, and
// each event loop accepts from each listener, all but the first with a descriptor of their own.
func budgetFor(cfg config.Config, targets int) budget {
	b := budget{limit: descriptorLimit(), each: 1}
	b.reserved = spareDescriptors + len(cfg.Listen) + pendingHeaders(cfg) + 2*cfg.Loops
	if cfg.Admin != "" {
		b.reserved += admin.MaxConns + 2 // its listener, and a connection that takes the place of another
	}
	if cfg.Mode == config.ConnectionMode {
		b.each = 2
		b.reserved += targets + b.limit/16 // one check of each target
		b.reserved += len(cfg.Listen) * max(0, cfg.Loops-1)
		return b
	}
	if cfg.Health.Check.Enabled() {
		b.reserved += targets
	}
	b.reserved += 2 * targets * cfg.Connections
	return b
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
func maxClients(cfg config.Config, targets int) int {
	return budgetFor(cfg, targets).clients(cfg.MaxConnections)
}

// checkDescriptors returns an error if the descriptors of the process do not suffice for a
// configuration.
func checkDescriptors(cfg config.Config, targets int) error {
	return budgetFor(cfg, targets).check(cfg.MaxConnections)
}

// pendingHeaders returns the maximum number of connections whose PROXY header has not arrived yet.
func pendingHeaders(cfg config.Config) int {
	if len(cfg.Access.ProxyFrom) == 0 {
		return 0
	}
	return listen.MaxPendingHeaders
}
