package admin

import "time"

// The values of Status.Mode.
const (
	ModeLine       = "line"
	ModeConnection = "connection"
)

// Status is everything about a run at one moment. Counts only ever grow, also when targets are removed, unless they
// are said to be gauges. Bytes of lines include newlines.
type Status struct {
	Mode     string    `json:"mode"` // ModeLine or ModeConnection
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Now      time.Time `json:"now"` // filled in by Server
	Ready    bool      `json:"ready"`
	Reason   string    `json:"reason,omitempty"`  // why it is not ready
	Balance  string    `json:"balance,omitempty"` // connection mode: the rule in force
	Draining bool      `json:"draining"`          // it has been told to end

	Listeners []string       `json:"listeners"` // actual addresses, as -listen takes them
	Ledger    *Ledger        `json:"ledger,omitempty"`
	Totals    Totals         `json:"totals"`
	Rates     Rates          `json:"rates"` // filled in by Server
	Limits    Limits         `json:"limits"`
	Targets   []TargetStatus `json:"targets"` // as configured, added ones behind

	// Removed holds the sums of the counts of targets that were removed, and no gauges. Metrics add
	// them as a target of their own, so that sums over all targets never fall. nil: no counts.
	Removed    *TargetStatus `json:"-"`
	LogDropped []LogDropped  `json:"-"`
}

// LogDropped is the number of lines of one log that were dropped because its reader was too slow.
type LogDropped struct {
	Log   string // from a small, fixed set: it becomes a label
	Lines uint64
}

// Amount is a number of lines and their bytes.
type Amount struct {
	Lines uint64 `json:"lines"`
	Bytes uint64 `json:"bytes"`
}

// Ledger says where all lines are, in line mode. At quiet moments
//
//	Received = Confirmed + Retained + Queued + Dropped
type Ledger struct {
	Received  Amount      `json:"received"`  // read from senders, dropped lines included
	Confirmed Amount      `json:"confirmed"` // each line once, those at targets that have been removed since included
	Retained  Amount      `json:"retained"`  // gauge: written to targets and not yet confirmed, or waiting to be sent again
	Queued    Amount      `json:"queued"`    // gauge: read and not yet taken by a worker
	Dropped   Amount      `json:"dropped"`
	DroppedBy []DroppedBy `json:"dropped_by"` // the same by reason, reasons without any included
	Resent    Amount      `json:"resent"`     // sent a second time, and so perhaps arrived twice
	Truncated uint64      `json:"truncated_lines"`
}

// DroppedBy is what was dropped for one reason.
type DroppedBy struct {
	Reason string `json:"reason"` // of a small, fixed set
	Amount
}

// Totals are the sums over all clients, those that have left included.
type Totals struct {
	Connections     uint64 `json:"connections"` // gauge: clients connected now
	Waiting         uint64 `json:"waiting"`     // gauge: those of them that wait for a place at a target
	Accepted        uint64 `json:"accepted"`
	AcceptErrors    uint64 `json:"accept_errors"`
	HandshakeErrors uint64 `json:"handshake_errors"` // of clients' TLS
	CutOff          uint64 `json:"cut_off"`
	ReceivedBytes   uint64 `json:"received_bytes"` // from clients
	SentBytes       uint64 `json:"sent_bytes"`     // to clients; connection mode
	// Refused has the connections that were not served, by reason, reasons without any included.
	Refused []RefusedBy `json:"refused"`
}

// RefusedBy is how many connections were refused for one reason.
type RefusedBy struct {
	Reason string `json:"reason"` // of a small, fixed set
	Count  uint64 `json:"count"`
}

// Rates are per second, over the last ten seconds or what there has been of them.
type Rates struct {
	ReceivedLines  float64 `json:"received_lines"`
	ReceivedBytes  float64 `json:"received_bytes"`
	ConfirmedLines float64 `json:"confirmed_lines"`
	ConfirmedBytes float64 `json:"confirmed_bytes"`
	SentBytes      float64 `json:"sent_bytes"` // to clients; connection mode
	Accepted       float64 `json:"accepted"`   // connections
}

// Limits are what is used of what there is. All are gauges.
type Limits struct {
	MemoryBytes    uint64 `json:"memory_bytes"` // held by lines
	MemoryLimit    uint64 `json:"memory_limit_bytes"`
	QueueBuffers   uint64 `json:"queue_buffers"`
	QueueCapacity  uint64 `json:"queue_capacity_buffers"` // when it is full, senders wait
	MaxConnections uint64 `json:"max_connections"`        // of clients; 0: no limit
}

// The values of TargetStatus.State.
const (
	StateUp       = "up"
	StateDown     = "down"
	StateDraining = "draining" // gets nothing new; what it has is on its way
	StateDrained  = "drained"  // gets nothing new and has nothing
	StateUnknown  = "unknown"  // nobody has tried yet
)

// TargetStatus is everything about one target.
type TargetStatus struct {
	Name        string    `json:"name"`
	Up          bool      `json:"-"`              // gauge: not known to be down
	State       string    `json:"state"`          // StateUp and so on
	Since       time.Time `json:"since,omitzero"` // of State
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Connections uint64    `json:"connections"` // gauge: open ones to it
	DialErrors  uint64    `json:"dial_errors"`
	// LatencySeconds is in line mode the round-trip time that TCP measures on a connection to it (tcpi_rtt), and in connection mode
	// what the last connect took; where there is none, what the last successful check took. 0: not known.
	LatencySeconds float64     `json:"latency_seconds,omitempty"`
	ChecksPassed   uint64      `json:"checks_passed"`
	ChecksFailed   uint64      `json:"checks_failed"`
	Rates          TargetRates `json:"rates"` // filled in by Server

	Lines   *TargetLines   `json:"lines,omitempty"`   // line mode
	Forward *TargetForward `json:"forward,omitempty"` // connection mode
}

// TargetRates are per second, over the same time as Rates.
type TargetRates struct {
	Lines         float64 `json:"lines"`          // confirmed
	Bytes         float64 `json:"bytes"`          // confirmed, or in connection mode sent to the target
	ReceivedBytes float64 `json:"received_bytes"` // from the target; connection mode
	Connections   float64 `json:"connections"`    // made; connection mode
	Share         float64 `json:"share"`          // of Bytes among all targets, 0 to 1
}

// TargetLines is what only line mode has of a target.
type TargetLines struct {
	Confirmed Amount     `json:"confirmed"`
	Retained  Amount     `json:"retained"` // gauge: its window
	Resent    Amount     `json:"resent"`   // given to it and sent again, to it or to another
	ResentBy  []ResentBy `json:"-"`        // the same by cause
	Failovers uint64     `json:"failovers"`
	Failbacks uint64     `json:"failbacks"`
	Stalls    uint64     `json:"stalls"`
}

// ResentBy is the part of TargetLines.Resent with one cause.
type ResentBy struct {
	Cause string // from a small, fixed set: it becomes a label
	Amount
}

// TargetForward is what only connection mode has of a target.
type TargetForward struct {
	Weight         int    `json:"weight"`
	Backup         bool   `json:"backup"`
	MaxConnections uint64 `json:"max_connections"` // 0: no limit
	Total          uint64 `json:"total"`           // connections ever made to it for clients
	SentBytes      uint64 `json:"sent_bytes"`      // to the target
	ReceivedBytes  uint64 `json:"received_bytes"`  // from the target
}

// History is what has been counted in the last five minutes, once a second.
type History struct {
	Mode    string    `json:"mode"`    // as in Status
	Started time.Time `json:"started"` // as in Status
	Samples []Sample  `json:"samples"` // oldest first
}

// Sample is a few of a Status's counts.
type Sample struct {
	At          time.Time `json:"at"`
	Received    Amount    `json:"received"`    // from clients; lines in line mode only
	Confirmed   Amount    `json:"confirmed"`   // line mode
	SentBytes   uint64    `json:"sent_bytes"`  // to clients; connection mode
	Connections uint64    `json:"connections"` // gauge: clients connected
	Waiting     uint64    `json:"waiting"`     // gauge: those that wait for a place at a target
}
