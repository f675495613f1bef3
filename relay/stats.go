package relay

import (
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// Stats are the counts of a Relay since its start, and its present state.
type Stats struct {
	// Accepted counts clients, AcceptErrors failed attempts to accept one, and HandshakeErrors
	// clients whose TLS handshake failed.
	Accepted, AcceptErrors, HandshakeErrors uint64
	// Active is the number of clients now, those that wait for a target included.
	Active int64
	// Refused has an entry for each reason, always in this order: limit, client-limit, rate,
	// queue-timeout, no-target, handshake, shutdown. Refused clients were never connected to a
	// target.
	Refused []Count
	// CutOff counts clients that were still connected when Tuning.Drain had passed or the hard end
	// came.
	CutOff uint64
	// LostDatagrams counts datagrams that could not be passed on at once, to a target or back to a
	// client.
	LostDatagrams uint64
	// DiscardedIn and DiscardedOut count bytes written to targets and to clients that did not
	// arrive, since the connection broke or was reset first. With TLS they count encrypted bytes.
	DiscardedIn, DiscardedOut uint64
	// Expelled counts clients that were still connected to a removed target when its time had
	// passed.
	Expelled uint64
	// Waiting is the number of clients that wait now because all targets are full.
	Waiting int64
	// Balance is the name of the balancer in force.
	Balance string
	// Targets are in the order of Options.Targets, later additions last.
	Targets []TargetStats
	// Removed holds the counts of removed targets, so that sums over all targets never decrease.
	Removed RemovedStats
}

// Count is the number of clients refused for one reason.
type Count = traffic.Count

// TargetStats are the state and the counts of one target.
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
		LostDatagrams:   c.LostDatagrams.Load(),
		DiscardedIn:     c.DiscardedIn.Load(),
		DiscardedOut:    c.DiscardedOut.Load(),
		Expelled:        c.Expelled.Load(),
		Waiting:         r.backends.Waiting(),
	}
	s.Targets, s.Removed, s.Balance = r.backends.Stats()
	return s
}
