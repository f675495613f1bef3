package traffic

import "sync/atomic"

// Count is a number with what it counts.
type Count struct {
	Reason string
	N      uint64
}

// Counters are what a relay counts of its clients.
type Counters struct {
	Accepted, AcceptErrors, HandshakeErrors, CutOff, Expelled atomic.Uint64
	Active                                                    atomic.Int64

	refused [numEnds]atomic.Uint64
}

// Cut counts connections that were ended for a reason of ours that somebody will ask about.
func (c *Counters) Cut(why End) {
	switch why {
	case EndShutdown:
		c.CutOff.Add(1)
	case EndTargetRemoved:
		c.Expelled.Add(1)
	}
}

// refusals are what Refused lists. A client whose dials failed was refused for lack of a target, too.
var refusals = [...]End{EndLimit, EndClientLimit, EndRateLimit, EndQueueTimeout, EndNoTarget, EndHandshake, EndShutdown}

// Refuse counts a refusal.
func (c *Counters) Refuse(why End) {
	if why == EndDialFailed {
		why = EndNoTarget
	}
	c.refused[why].Add(1)
}

// Refused has one entry for each reason, always the same in the same order.
func (c *Counters) Refused() (all []Count) {
	for _, why := range refusals {
		all = append(all, Count{why.String(), c.refused[why].Load()})
	}
	return all
}
