package relay

import (
	"time"

	"linesplit/target"
)

// Tuning is what of the Options may change while a Relay runs. Each field is what the one of the same name is there, and has the same
// default.
type Tuning struct {
	DialOptions                                                 target.Options
	DialBudget, LingerTimeout, IdleTimeout, QueueTimeout, Drain time.Duration
	MaxConnections, MaxConnectionsPerClient                     int
	RatePerClient                                               float64
	ResetOnDown                                                 bool
	UDPIdleTimeout                                              time.Duration
	UDPSessions                                                 int
}

// Tuning returns what of o may change later.
func (o Options) Tuning() Tuning {
	return Tuning{
		DialOptions:             o.DialOptions,
		DialBudget:              o.DialBudget,
		LingerTimeout:           o.LingerTimeout,
		IdleTimeout:             o.IdleTimeout,
		QueueTimeout:            o.QueueTimeout,
		Drain:                   o.Drain,
		MaxConnections:          o.MaxConnections,
		MaxConnectionsPerClient: o.MaxConnectionsPerClient,
		RatePerClient:           o.RatePerClient,
		ResetOnDown:             o.ResetOnDown,
		UDPIdleTimeout:          o.UDPIdleTimeout,
		UDPSessions:             o.UDPSessions,
	}
}

func (t Tuning) withDefaults() Tuning {
	t.DialBudget = orDefault(t.DialBudget, 5*time.Second)
	t.LingerTimeout = orDefault(t.LingerTimeout, time.Minute)
	t.QueueTimeout = orDefault(t.QueueTimeout, 5*time.Second)
	t.UDPIdleTimeout = orDefault(t.UDPIdleTimeout, 30*time.Second)
	if t.UDPSessions < 1 {
		t.UDPSessions = 4096
	}
	return t
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Tune replaces all the settings that may change. No connection ends for it but those that a shorter timeout, or ResetOnDown, finds too
// long silent, or at a target that is down. What goes on keeps what it began with: a dial its options and budget, a client in the queue
// its patience, a drain its end. A lower limit of connections or sessions refuses those who come from now on, and a new RatePerClient
// begins with what it allows at once.
func (r *Relay) Tune(t Tuning) {
	r.tune(t)
	r.wakeServices()
}

func (r *Relay) tune(t Tuning) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tuneLocked(t)
}

func (r *Relay) tuneLocked(t Tuning) {
	t = t.withDefaults()
	r.tuning.Store(&t)
	r.clients.tune(&t)
}

// tuned returns the settings that hold now; nobody changes them.
func (r *Relay) tuned() *Tuning { return r.tuning.Load() }
