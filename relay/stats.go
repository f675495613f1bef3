package relay

import (
	"sync/atomic"
	"time"

	"linesplit/target"
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
type Count struct {
	Reason string
	N      uint64
}

// TargetStats is what one target has had. Bytes are counted as they are handed on, while connections last.
type TargetStats struct {
	Name       string // the address
	Up         bool
	State      string    // one of target's: StateDraining or StateDrained after Drain or Remove, else what the target itself says
	Since      time.Time // when it began to be in that state
	Removing   bool      // it will go
	Weight     int
	Backup     bool
	Most       int    // connections that it may have; 0 for any number
	Active     int64  // connections now, those being dialled included
	Total      uint64 // connections made
	BytesIn    uint64 // to the target
	BytesOut   uint64 // from the target
	DialErrors uint64
	Latency    time.Duration // of the last connect that succeeded, TLS handshake included; 0: none has
	// LastError is what a dial or a check has failed with last, however it went after that; empty for never.
	LastError   string
	LastErrorAt time.Time
}

// RemovedStats are sums over targets that have been removed. Those of one that comes again begin anew.
type RemovedStats struct {
	Targets                              uint64 // how many
	Total, BytesIn, BytesOut, DialErrors uint64 // as in TargetStats
}

func (s *RemovedStats) add(p *place) {
	s.Targets++
	s.Total += p.total.Load()
	s.BytesIn += p.bytesIn.Load()
	s.BytesOut += p.bytesOut.Load()
	s.DialErrors += p.t.DialErrors()
}

type counters struct {
	accepted, acceptErrors, handshakeErrors, cutOff, expelled atomic.Uint64
	active                                                    atomic.Int64
	refused                                                   [numEnds]atomic.Uint64
}

// cut counts connections that were ended for a reason of ours that somebody will ask about.
func (c *counters) cut(why end) {
	switch why {
	case shutdown:
		c.cutOff.Add(1)
	case targetRemoved:
		c.expelled.Add(1)
	}
}

// refusals are what Stats.Refused lists. A client whose dials failed was refused for lack of a target, too.
var refusals = [...]end{limit, clientLimit, rateLimit, queueTimeout, noTarget, handshake, shutdown}

func (r *Relay) refuse(why end) {
	if why == dialFailed {
		why = noTarget
	}
	r.counters.refused[why].Add(1)
}

// Stats returns a snapshot. It is cheap.
func (r *Relay) Stats() Stats {
	c := &r.counters
	s := Stats{
		Accepted:        c.accepted.Load(),
		AcceptErrors:    c.acceptErrors.Load(),
		HandshakeErrors: c.handshakeErrors.Load(),
		Active:          c.active.Load(),
		CutOff:          c.cutOff.Load(),
		Expelled:        c.expelled.Load(),
		Waiting:         r.streams.waiting() + r.datagrams.waiting(),
	}
	for _, why := range refusals {
		s.Refused = append(s.Refused, Count{why.String(), c.refused[why].Load()})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.places {
		s.Targets = append(s.Targets, p.stats())
	}
	s.Balance, s.Removed = r.balance, r.removed
	return s
}

// Addresses are those of the targets that stay, with the weights that they have now.
func (r *Relay) Addresses() (all []target.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.places {
		if a := p.t.Address; !p.leaving.Load() {
			a.Weight = int(p.weight.Load())
			all = append(all, a)
		}
	}
	return all
}

func (p *place) stats() TargetStats {
	own := p.t.Status()
	s := TargetStats{
		Name:        p.t.String(),
		Up:          own.State != target.StateDown,
		State:       own.State,
		Since:       own.Since,
		Removing:    p.leaving.Load(),
		Weight:      int(p.weight.Load()),
		Backup:      p.t.Address.Backup,
		Most:        int(p.most),
		Active:      p.active.Load(),
		Total:       p.total.Load(),
		BytesIn:     p.bytesIn.Load(),
		BytesOut:    p.bytesOut.Load(),
		DialErrors:  p.t.DialErrors(),
		Latency:     time.Duration(p.connect.Load()),
		LastError:   own.LastError,
		LastErrorAt: own.LastErrorAt,
	}
	if p.draining.Load() {
		s.State, s.Since = target.StateDraining, time.Unix(0, p.quiet.Load())
		if s.Active == 0 {
			s.State = target.StateDrained
		}
	}
	return s
}
