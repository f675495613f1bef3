package workerpool

import (
	"time"

	"linesplit/linebuf"
)

// Stats is a snapshot of a pool's counters. A count of bytes includes newlines.
type Stats struct {
	Taken    linebuf.Count // taken from the channel so far
	Retained linebuf.Count // taken and not confirmed: in windows or in a retry queue
	Targets  []TargetStats
	Removed  TargetStats // sums over targets that were removed; only their counters are set
}

// TargetStats is the part of Stats for one target.
type TargetStats struct {
	Name string // as target.Address.String returns it
	Up   bool   // no check has found it down, and it has connections or is not known to be down
	// State is target.StateUnknown, StateUp, StateDown, StateDraining or StateDrained, as
	// workers see it.
	State    string
	Since    time.Time
	Removing bool // it is being drained to be removed
	// LastError is the last error of a dial, a check or a connection, also if successes
	// followed; empty: none.
	LastError   string
	LastErrorAt time.Time
	RoundTrip   time.Duration // of TCP, as of the last look at any of its connections; 0: unknown
	Connections int
	// ExactConnections are those of which the kernel tells what the target has not read; see
	// target.Progress.Exact.
	ExactConnections int
	Retained         linebuf.Count // in the windows of its connections, as of the last look at each
	DialErrors       uint64
	Failovers        uint64 // workers that left this target because it failed
	Failbacks        uint64 // workers that came back to it as their home
	Stalls           uint64 // connections without progress for the stall timeout
	// Sent and Acknowledged count the lines that were written to its connections, and those of them that
	// its kernel has acknowledged, each time that a line was sent. They lag by a tick, target.Tick.
	Sent, Acknowledged linebuf.Count
	Confirmed          linebuf.Count // each line once, at the target that confirmed it
	Resent             []Resent
}

// Resent counts lines that a target had been given and that were sent again, to it or to
// another, for one cause.
type Resent struct {
	Cause string
	linebuf.Count
}

// These are the causes of Resent.
const (
	CauseUnacknowledged = "unacknowledged" // the target's kernel never acknowledged it
	CauseUnread         = "unread"         // it was acknowledged, but the application may not have read it
)

func noStats() TargetStats {
	return TargetStats{Resent: []Resent{{Cause: CauseUnacknowledged}, {Cause: CauseUnread}}}
}

// add adds the result of backend.counts for another target.
func (s *TargetStats) add(o TargetStats) {
	s.DialErrors += o.DialErrors
	s.Failovers += o.Failovers
	s.Failbacks += o.Failbacks
	s.Stalls += o.Stalls
	s.Sent.Add(o.Sent)
	s.Acknowledged.Add(o.Acknowledged)
	s.Confirmed.Add(o.Confirmed)
	for i, r := range o.Resent {
		s.Resent[i].Add(r.Count)
	}
}
