package relay

import "linesplit/relay/internal/traffic"

// Tuning is what of the Options may change while a Relay runs. Each field is what the one of the same name is there, and has the same
// default.
type Tuning = traffic.Tuning

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

// Tune replaces all the settings that may change. No connection ends for it but those that a shorter timeout, or ResetOnDown, finds too
// long silent, or at a target that is down. What goes on keeps what it began with: a dial its options and budget, a client in the queue
// its patience, a drain its end. A lower limit of connections or sessions refuses those who come from now on, and a new RatePerClient
// begins with what it allows at once.
func (r *Relay) Tune(t Tuning) {
	r.settings.Store(t)
	r.wakeServices()
}
