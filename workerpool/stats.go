package workerpool

import (
	"time"

	"linesplit/internal/delivery"
	"linesplit/linebuf"
)

// Stats is a snapshot of a pool's counters. A count of bytes includes newlines, or what else tells
// lines apart.
type Stats struct {
	Taken    linebuf.Count // taken from the channel so far: confirmed, Retained, Kept, or refused by Reframed
	Retained linebuf.Count // taken and not confirmed: in windows or in a retry queue
	Kept     linebuf.Count // handed to Options.Keep, taken from the channel or not
	Reframed delivery.Reframed
	Targets  []TargetStats
	Removed  TargetStats // sums over targets that were removed; only its Counters are set
	Keys     *KeyStats   // nil: lines have no keys
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
	Weight   int  // in force
	Backup   bool // it serves only while no other target is up
	Wanted   int  // connections that it is to have
	// LastError is the last error of a dial, a check or a connection, also if successes
	// followed; empty: none.
	LastError   string
	LastErrorAt time.Time
	Lanes       LaneStats // zero if lines have no keys
	delivery.Gauges
	delivery.Counters
}

// noCounters returns counters that others can be added to.
func noCounters() delivery.Counters {
	return delivery.Counters{Resent: []delivery.Resent{
		{Cause: delivery.CauseUnacknowledged}, {Cause: delivery.CauseUnread},
	}}
}
