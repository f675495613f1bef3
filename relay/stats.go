package relay

import "sync/atomic"

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
	// Waiting is how many clients wait now because all targets are full.
	Waiting int64
	// Targets are in the order of Options.Targets.
	Targets []TargetStats
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
	Active     int64  // connections now, those being dialled included
	Total      uint64 // connections made
	BytesIn    uint64 // to the target
	BytesOut   uint64 // from the target
	DialErrors uint64
}

type counters struct {
	accepted, acceptErrors, handshakeErrors, cutOff atomic.Uint64
	active                                          atomic.Int64
	refused                                         [numEnds]atomic.Uint64
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
		Waiting:         r.streams.waiting() + r.datagrams.waiting(),
	}
	for _, why := range refusals {
		s.Refused = append(s.Refused, Count{why.String(), c.refused[why].Load()})
	}
	for _, t := range r.o.Targets {
		p := r.streams.placeOf(t)
		if p == nil {
			p = r.datagrams.placeOf(t)
		}
		s.Targets = append(s.Targets, p.stats())
	}
	return s
}

func (p *place) stats() TargetStats {
	return TargetStats{
		Name:       p.t.String(),
		Up:         !p.t.Down(),
		Active:     p.active.Load(),
		Total:      p.total.Load(),
		BytesIn:    p.bytesIn.Load(),
		BytesOut:   p.bytesOut.Load(),
		DialErrors: p.t.DialErrors(),
	}
}
