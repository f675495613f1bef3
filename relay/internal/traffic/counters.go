package traffic

import "sync/atomic"

// Count is the number of clients refused for one reason.
type Count struct {
	Reason string
	N      uint64
}

// Counters count the clients of a relay. The zero value is ready to use.
type Counters struct {
	Accepted        atomic.Uint64 // clients, those refused included
	AcceptErrors    atomic.Uint64 // failed attempts to accept or receive
	HandshakeErrors atomic.Uint64 // clients whose TLS handshake failed
	CutOff          atomic.Uint64 // clients that the end of the drain, or the hard end, cut off
	Expelled        atomic.Uint64 // clients reset because their target was removed
	DiscardedIn     atomic.Uint64 // bytes written to a target that a reset discarded; with TLS a few more
	DiscardedOut    atomic.Uint64 // bytes written to a client that a reset discarded; with TLS a few more
	LostDatagrams   atomic.Uint64 // datagrams that could not be passed on at once, either way
	Active          atomic.Int64  // clients that are admitted now

	refused [numEnds]atomic.Uint64
}

// CountCut counts a connection that the relay has ended, if why is one that is reported.
func (c *Counters) CountCut(why End) {
	switch why {
	case EndShutdown:
		c.CutOff.Add(1)
	case EndTargetRemoved:
		c.Expelled.Add(1)
	}
}

// refusals are the reasons that Refused lists. Clients whose dials all failed count under
// no-target.
var refusals = [...]End{
	EndLimit, EndClientLimit, EndRateLimit, EndQueueTimeout, EndNoTarget, EndHandshake, EndShutdown,
}

// CountRefusal counts a client that was refused.
func (c *Counters) CountRefusal(why End) {
	if why == EndDialFailed {
		why = EndNoTarget
	}
	c.refused[why].Add(1)
}

// Refused returns a count for each reason, always all of them and in the same order.
func (c *Counters) Refused() (all []Count) {
	for _, why := range refusals {
		all = append(all, Count{why.String(), c.refused[why].Load()})
	}
	return all
}
