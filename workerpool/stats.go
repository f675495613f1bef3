package workerpool

import (
	"time"

	"linesplit/linebuf"
)

// Stats is a snapshot of a pool's counters. Lines and bytes count newlines and what stands before them, newline included.
type Stats struct {
	Taken    linebuf.Count // ever taken from the channel
	Retained linebuf.Count // taken and not confirmed: in windows, or waiting to be sent again
	Targets  []TargetStats
	Removed  TargetStats // sums of what targets that are gone have counted; nothing else of it is set
}

// TargetStats is one target's part of Stats.
type TargetStats struct {
	Name        string // as target.Address.String gives it
	Up          bool   // no check says that it is down, and it is connected or at least not known to be down
	State       string // target.StateUnknown, StateUp, StateDown, StateDraining or StateDrained: what it is for those who may go there
	Since       time.Time
	Removing    bool   // it is being drained to be removed
	LastError   string // of a dial, a check or a connection, whatever came after it; empty: there was none
	LastErrorAt time.Time
	RoundTrip   time.Duration // of TCP, as of the last look at any of its connections; 0: not known
	Connections int
	Retained    linebuf.Count // in the windows of its connections, as of the last look at each, a moment ago
	DialErrors  uint64
	Failovers   uint64        // workers that left this target because it failed
	Failbacks   uint64        // workers that came home to it
	Stalls      uint64        // connections that made no progress for the stall timeout
	Confirmed   linebuf.Count // each line once, at the target that it was confirmed at
	Resent      []Resent
}

// Resent counts what had been given to a target and was sent again, to it or to another, for one cause.
type Resent struct {
	Cause string
	linebuf.Count
}

// The causes of Resent.
const (
	CauseUnacknowledged = "unacknowledged" // the target's kernel never confirmed it
	CauseUnread         = "unread"         // it was acknowledged, but the application may not have read it
)

func noStats() TargetStats {
	return TargetStats{Resent: []Resent{{Cause: CauseUnacknowledged}, {Cause: CauseUnread}}}
}

// add adds what place.counts returns for another target.
func (s *TargetStats) add(o TargetStats) {
	s.DialErrors += o.DialErrors
	s.Failovers += o.Failovers
	s.Failbacks += o.Failbacks
	s.Stalls += o.Stalls
	s.Confirmed.Add(o.Confirmed)
	for i, r := range o.Resent {
		s.Resent[i].Add(r.Count)
	}
}
