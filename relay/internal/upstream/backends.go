// Package upstream holds the backends: the targets with their connections and counts. It chooses
// the backend of each client, queues clients while all are full, dials, and changes the list at run
// time.
package upstream

import (
	"log/slog"
	"sync"

	"linesplit/internal/loglimit"
	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// Options are the settings of Backends.
type Options struct {
	Targets        []*target.Target
	Balance        string // a name that ParseBalance does not know means round-robin
	Settings       *traffic.Settings
	ConnectSeconds interface{ Observe(seconds float64) } // gets the duration of each successful dial; may be nil
	Expel          func(*Backend)                        // ends the connections of a backend that is Expelled
	Logger         *slog.Logger
}

// Backends holds all backends of a relay. Those for streams and those for datagrams each form a
// Group, which chooses among them. Its methods are safe for concurrent use.
type Backends struct {
	Streams, Datagrams *Group

	settings       *traffic.Settings
	connectSeconds interface{ Observe(seconds float64) }
	expel          func(*Backend)
	logger         *slog.Logger
	dialsFailed    loglimit.Limiter

	mu      sync.Mutex // guards the fields below, and is held while the targets change
	all     []*Backend // of both groups, in the order of the configuration, later additions last
	balance string
	removed RemovedStats
}

// FlushLog logs the events that are held back to be reported in sum.
func (s *Backends) FlushLog() {
	s.dialsFailed.Flush()
	s.Streams.reachLog.Flush()
	s.Datagrams.reachLog.Flush()
	for _, t := range s.Targets() {
		t.FlushLog()
	}
}

// New returns Backends with o.Targets.
func New(o Options) *Backends {
	name, err := ParseBalance(o.Balance)
	if err != nil {
		name = RoundRobin
	}
	s := &Backends{
		Streams:        newGroup(o.Settings, name, o.Logger),
		Datagrams:      newGroup(o.Settings, name, o.Logger),
		settings:       o.Settings,
		connectSeconds: o.ConnectSeconds,
		expel:          o.Expel,
		logger:         o.Logger,
		balance:        name,
	}
	for _, t := range o.Targets {
		s.appendLocked(newBackend(t)) // s is not shared yet
	}
	return s
}

func (s *Backends) groupOf(b *Backend) *Group { return s.groupFor(b.Target) }

func (s *Backends) groupFor(t *target.Target) *Group {
	if t.Address.Scheme == target.SchemeUDP {
		return s.Datagrams
	}
	return s.Streams
}
