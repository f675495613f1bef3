package relay

import (
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// Stats is what a Relay has done so far, and what it is doing.
type Stats struct {
	// Accepted counts clients, AcceptErrors failed attempts to accept one, HandshakeErrors clients that did not get through TLS.
	Accepted, AcceptErrors, HandshakeErrors uint64
	// Active is how many clients there are now, those that wait for a target included.
	Active int64
	// Refused has one entry for each reason, always the same in the same order: limit, client-limit, rate, queue-timeout, no-target,
	// handshake, shutdown. Refused clients were never connected to a target.
	Refused []Count
	// CutOff counts clients that were still there when Options.Drain had passed or the hard end came.
	CutOff uint64
	// Expelled counts clients that were still connected to a target when the time for its removal had passed.
	Expelled uint64
	// Waiting is how many clients wait now because all targets are full.
	Waiting int64
	// Balance is the name of the rule in force.
	Balance string
	// Targets are in the order of Options.Targets, with those that were added later behind.
	Targets []TargetStats
	// Removed is what targets that are gone have had. With it sums over all targets never fall.
	Removed RemovedStats
}

// Count is a number with what it counts.
type Count = traffic.Count

// TargetStats is what one target has had.
type TargetStats = upstream.TargetStats

// RemovedStats are sums over targets that have been removed.
type RemovedStats = upstream.RemovedStats

// Stats returns a snapshot. It is cheap.
func (r *Relay) Stats() Stats {
	c := r.clients
	s := Stats{
		Accepted:        c.Accepted.Load(),
		AcceptErrors:    c.AcceptErrors.Load(),
		HandshakeErrors: c.HandshakeErrors.Load(),
		Active:          c.Active.Load(),
		Refused:         c.Refused(),
		CutOff:          c.CutOff.Load(),
		Expelled:        c.Expelled.Load(),
		Waiting:         r.backends.Waiting(),
	}
	s.Targets, s.Removed, s.Balance = r.backends.Stats()
	return s
}
