package admin

import "time"

// These are the values of Status.Mode.
const (
	ModeLine       = "line"
	ModeConnection = "connection"
)

// Status is the state of a service at one moment. The API, the status page, ctl and the metrics are
// all written from it. Counts never fall, even when targets are removed, unless they are marked
// as gauges. Bytes of lines include newlines.
type Status struct {
	Service  string    `json:"service,omitempty"` // its name; empty for the one service of a process without named ones
	Mode     string    `json:"mode"`              // ModeLine or ModeConnection
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Now      time.Time `json:"now"` // filled in by Server
	Ready    bool      `json:"ready"`
	Reason   string    `json:"reason,omitempty"`  // for not being ready
	Balance  string    `json:"balance,omitempty"` // connection mode: the rule in force
	Draining bool      `json:"draining"`          // linesplit was told to stop

	Listeners []string       `json:"listeners"` // actual addresses, in the syntax of -listen
	Ledger    *Ledger        `json:"ledger,omitempty"`
	Keys      *KeyStatus     `json:"keys,omitempty"` // line mode with -key
	Totals    Totals         `json:"totals"`
	Rates     Rates          `json:"rates"` // filled in by Server
	Limits    Limits         `json:"limits"`
	Targets   []TargetStatus `json:"targets"` // in the order of the configuration, added ones last
	Sources   []SourceStatus `json:"sources"` // of targets, in the order of the configuration

	// Groups has the account of each group of targets in line mode, if there are several. Ledger is
	// then that of the first.
	Groups []GroupStatus `json:"groups,omitempty"`
	Spool  *SpoolStatus  `json:"spool,omitempty"` // line mode with -spool

	// Removed holds the summed counts of removed targets, without gauges. The metrics show it as
	// one more target, so that sums over all targets never fall. nil if there are none.
	Removed    *TargetStatus `json:"-"`
	LogDropped []LogDropped  `json:"-"`
	// Datagrams has one element for each udp:// listener.
	Datagrams []DatagramListener `json:"-"`
}

// LogDropped counts the lines of one log that were dropped because its reader was too slow.
type LogDropped struct {
	Log   string // one of a small, fixed set, since it is a label of a metric
	Lines uint64
}

// DatagramListener counts what the kernel has dropped at a udp:// listener.
type DatagramListener struct {
	Listener      string // the actual address, in the syntax of -listen
	Dropped       uint64
	ReceiveBuffer uint64 // gauge: bytes granted
}

// Amount is a number of lines and their size in bytes.
type Amount struct {
	Lines uint64 `json:"lines"`
	Bytes uint64 `json:"bytes"`
}

// Ledger accounts for all lines in line mode. While no line is moving,
//
//	Received + Replayed = Confirmed + Rejected + Retained + Queued + Dropped + Spooled
//
// in lines. In bytes, FramingRemoved belongs to the right side, and FramingAdded to the left: a
// line for a target of another framing than its sender's is counted as it was until a worker takes
// it.
type Ledger struct {
	Received  Amount      `json:"received"`  // read from senders, including dropped lines
	Confirmed Amount      `json:"confirmed"` // each line once, including those confirmed by removed targets
	Rejected  Amount      `json:"rejected"`  // refused for good by targets that acknowledge; each line once
	Retained  Amount      `json:"retained"`  // gauge: written to targets and not yet confirmed, or in a retry queue
	Queued    Amount      `json:"queued"`    // gauge: read and not yet taken by a worker
	Dropped   Amount      `json:"dropped"`
	DroppedBy []DroppedBy `json:"dropped_by"` // Dropped by reason, including reasons with a count of 0
	// Spooled counts lines that went to the spool in place of a worker, or from a worker at the
	// end. Replayed counts lines that workers got from the spool, those of an earlier run included.
	Spooled  Amount `json:"spooled"`
	Replayed Amount `json:"replayed"`
	// Sent and Acknowledged count what was written to targets, and what of it their kernels have
	// acknowledged, each time that a line was sent.
	Sent         Amount `json:"sent"`
	Acknowledged Amount `json:"acknowledged"`
	Resent       Amount `json:"resent"` // sent again, so that it may have arrived twice
	Truncated    uint64 `json:"truncated_lines"`
	// Altered counts lines in which something else was written for an embedded newline or NUL byte.
	Altered        uint64 `json:"altered_lines"`
	FramingAdded   uint64 `json:"framing_added_bytes"`
	FramingRemoved uint64 `json:"framing_removed_bytes"`
}

// KeyStatus tells about keys, with -key.
type KeyStatus struct {
	Rule string `json:"rule"` // -key
	// Moving is a gauge: the share of all keys that are on their way to another target, 0 to 1.
	// Lines of these wait until all lines before them are confirmed; Waiting counts them, as a part
	// of Ledger.Queued.
	Moving  float64 `json:"moving"`
	Waiting Amount  `json:"waiting"`
}

// GroupStatus accounts for the lines that one group of targets is given, each of which goes to one
// of its targets. While no line is moving,
//
//	Given + Replayed = Confirmed + Rejected + Retained + Queued + Dropped + Spooled
type GroupStatus struct {
	Name        string `json:"name"`
	Required    bool   `json:"required"` // it holds up senders; otherwise lines beyond its budget are dropped for it
	Targets     int    `json:"targets"`
	Given       Amount `json:"given"`
	Confirmed   Amount `json:"confirmed"`
	Rejected    Amount `json:"rejected"`
	Retained    Amount `json:"retained"` // gauge
	Queued      Amount `json:"queued"`   // gauge: not yet taken by a worker
	Dropped     Amount `json:"dropped"`  // for this group alone
	Spooled     Amount `json:"spooled"`  // as in Ledger
	Replayed    Amount `json:"replayed"`
	Resent      Amount `json:"resent"`
	MemoryBytes uint64 `json:"memory_bytes"` // gauge: held for it, perhaps for other groups, too
	BudgetBytes uint64 `json:"budget_bytes"` // of them; 0: a required group has none
}

// DroppedBy is the part of Ledger.Dropped with one reason.
type DroppedBy struct {
	Reason string `json:"reason"` // one of a small, fixed set
	Amount
}

// Totals are the sums over all clients, including those that have left.
type Totals struct {
	Connections     uint64 `json:"connections"` // gauge: clients connected now
	Waiting         uint64 `json:"waiting"`     // gauge: those of them that wait because all targets are full
	Accepted        uint64 `json:"accepted"`
	AcceptErrors    uint64 `json:"accept_errors"`
	HandshakeErrors uint64 `json:"handshake_errors"` // of TLS with clients
	// Handshakes and HandshakesWaiting are gauges: TLS handshakes with clients in progress, and
	// clients that wait for room for theirs. HandshakesDisplaced counts those that were ended for
	// others, which are handshake errors, too.
	Handshakes          uint64 `json:"handshakes"`
	HandshakesWaiting   uint64 `json:"handshakes_waiting"`
	HandshakesDisplaced uint64 `json:"handshakes_displaced"`
	DiscardedIn         uint64 `json:"discarded_in"`      // connection mode: bytes to targets that a break discarded
	DiscardedOut        uint64 `json:"discarded_out"`     // connection mode: bytes to clients that a break discarded
	LostDatagrams       uint64 `json:"lost_datagrams"`    // connection mode: could not be passed on at once, either way
	DroppedDatagrams    uint64 `json:"dropped_datagrams"` // by the kernel, at all udp:// listeners, before linesplit read them
	Probes              uint64 `json:"probes"`            // ended before the first byte of TLS or of a PROXY header

	// IdleTimeouts and LineTimeouts count the senders that a timeout has ended, and AcceptPauses
	// how often accepting paused at Limits.MaxConnections; all in line mode.
	IdleTimeouts uint64 `json:"idle_timeouts"`
	LineTimeouts uint64 `json:"line_timeouts"`
	AcceptPauses uint64 `json:"accept_pauses"`

	CutOff        uint64 `json:"cut_off"`        // clients still connected when the drain ended
	Broken        uint64 `json:"broken"`         // line mode: senders whose connection did not end in order
	ReceivedBytes uint64 `json:"received_bytes"` // from clients
	SentBytes     uint64 `json:"sent_bytes"`     // to clients; connection mode
	// Refused counts connections that were not served, by reason, including reasons with a count
	// of 0.
	Refused []RefusedBy `json:"refused"`
	// Answers counts HTTP requests with lines, by the status of the answer; line mode.
	Answers []AnsweredBy `json:"answers,omitempty"`
}

// AnsweredBy counts the requests that were answered with one status.
type AnsweredBy struct {
	Status string `json:"status"` // gone: the client left before its answer
	Count  uint64 `json:"count"`
}

// RefusedBy counts the connections that were refused for one reason.
type RefusedBy struct {
	Reason string `json:"reason"` // one of a small, fixed set
	Count  uint64 `json:"count"`
}

// Rates are per second, over the last ten seconds, or since the start if that is shorter.
type Rates struct {
	ReceivedLines  float64 `json:"received_lines"`
	ReceivedBytes  float64 `json:"received_bytes"`
	ConfirmedLines float64 `json:"confirmed_lines"`
	ConfirmedBytes float64 `json:"confirmed_bytes"`
	SentLines      float64 `json:"sent_lines"` // to targets; line mode
	SentBytes      float64 `json:"sent_bytes"` // to targets, or in connection mode to clients
	Accepted       float64 `json:"accepted"`   // connections
}

// Limits hold the usage of limited resources and their limits. All are gauges.
type Limits struct {
	MemoryBytes    uint64 `json:"memory_bytes"` // held by lines
	MemoryLimit    uint64 `json:"memory_limit_bytes"`
	QueueBuffers   uint64 `json:"queue_buffers"`
	QueueCapacity  uint64 `json:"queue_capacity_buffers"` // senders wait while the queue is full
	MaxConnections uint64 `json:"max_connections"`        // of clients; 0: no limit

	AcceptingPaused bool `json:"accepting_paused"` // at MaxConnections, so that more senders wait; line mode
}

// These are the values of TargetStatus.State.
const (
	StateUp       = "up"
	StateDown     = "down"
	StateDraining = "draining" // gets nothing new and finishes its work
	StateDrained  = "drained"  // gets nothing new and has no work left
	StateUnknown  = "unknown"  // not tried yet
)

// TargetStatus is the state of one target.
type TargetStatus struct {
	Name        string    `json:"name"`
	Group       string    `json:"group,omitempty"` // line mode with several groups
	Up          bool      `json:"-"`               // gauge: not known to be down
	State       string    `json:"state"`           // one of StateUp and so on
	Since       time.Time `json:"since,omitzero"`  // of State
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Connections uint64    `json:"connections"` // gauge: open connections to it
	DialErrors  uint64    `json:"dial_errors"`
	// LatencySeconds is the round-trip time that TCP measures on a connection to it (tcpi_rtt) in
	// line mode, and the duration of the last connect in connection mode. Without either it is
	// the duration of the last successful check. 0: not known.
	LatencySeconds float64     `json:"latency_seconds,omitempty"`
	ChecksPassed   uint64      `json:"checks_passed"`
	ChecksFailed   uint64      `json:"checks_failed"`
	Rates          TargetRates `json:"rates"` // filled in by Server
	// From tells where the target comes from: the names of sources, "configuration" and "by hand";
	// nil if there are no sources.
	From []string `json:"from,omitempty"`

	Lines   *TargetLines   `json:"lines,omitempty"`   // line mode
	Forward *TargetForward `json:"forward,omitempty"` // connection mode
}

// SourceStatus is the state of a source of targets.
type SourceStatus struct {
	Name         string    `json:"name"`            // as in -target
	Group        string    `json:"group,omitempty"` // line mode with several groups
	Failing      bool      `json:"failing"`         // gauge: its last lookup failed, or its answer was not whole
	Targets      uint64    `json:"targets"`         // gauge: that it lists
	Answers      uint64    `json:"answers"`
	Failures     uint64    `json:"failures"`
	LastAnswerAt time.Time `json:"last_answer_at,omitzero"`
	LastError    string    `json:"last_error,omitempty"` // kept after later answers
	LastErrorAt  time.Time `json:"last_error_at,omitzero"`
}

// TargetRates are per second, over the same time as Rates.
type TargetRates struct {
	Lines         float64 `json:"lines"`          // sent to the target; line mode
	Bytes         float64 `json:"bytes"`          // sent to the target
	ReceivedBytes float64 `json:"received_bytes"` // from the target; connection mode
	Connections   float64 `json:"connections"`    // made; connection mode
	Share         float64 `json:"share"`          // of Bytes among all targets, 0 to 1
}

// TargetLines is the part of a TargetStatus that only line mode has.
type TargetLines struct {
	// Sent and Acknowledged are as in Ledger. On systems other than Linux, where the kernel does
	// not say what was acknowledged, Acknowledged counts what is confirmed.
	Sent         Amount `json:"sent"`
	Acknowledged Amount `json:"acknowledged"`

	Confirmed Amount     `json:"confirmed"`
	Rejected  Amount     `json:"rejected"` // refused for good, each line once
	Retained  Amount     `json:"retained"` // gauge: in the windows of its connections
	Resent    Amount     `json:"resent"`   // written to it and sent again, to it or to another target
	ResentBy  []ResentBy `json:"-"`        // Resent by cause
	// ExactConnections is a gauge: the connections to a target on this host of which the kernel
	// tells exactly what is unread (-peer-lookup).
	ExactConnections uint64 `json:"exact_connections"`

	Failovers uint64 `json:"failovers"`
	Failbacks uint64 `json:"failbacks"`
	Stalls    uint64 `json:"stalls"`

	Weight            int  `json:"weight"`             // its share of the connections
	Backup            bool `json:"backup"`             // serves only while no other target is up
	WantedConnections int  `json:"wanted_connections"` // that its share comes to

	Lanes *TargetLanes `json:"lanes,omitempty"` // with -key
}

// TargetLanes are the queues of the keys of one target, one for each of its connections.
type TargetLanes struct {
	Queued Amount `json:"queued"` // gauge: a part of Ledger.Queued
	// Full is a gauge: the lanes that have no room, and hold up the senders of lines for them.
	// FullSince says since when the first of them does.
	Full      uint64    `json:"full"`
	FullSince time.Time `json:"full_since,omitzero"`
}

// ResentBy is the part of TargetLines.Resent with one cause.
type ResentBy struct {
	Cause string // one of a small, fixed set, since it is a label of a metric
	Amount
}

// TargetForward is the part of a TargetStatus that only connection mode has.
type TargetForward struct {
	Weight         int    `json:"weight"`
	Backup         bool   `json:"backup"`
	MaxConnections uint64 `json:"max_connections"` // 0: no limit
	Total          uint64 `json:"total"`           // connections ever opened to it for clients
	SentBytes      uint64 `json:"sent_bytes"`      // to the target
	ReceivedBytes  uint64 `json:"received_bytes"`  // from the target
}

// History holds one Sample per second of the last five minutes.
type History struct {
	Mode    string    `json:"mode"`    // as in Status
	Started time.Time `json:"started"` // as in Status
	Samples []Sample  `json:"samples"` // oldest first
}

// Sample holds some of the counts of a Status.
type Sample struct {
	At          time.Time `json:"at"`
	Received    Amount    `json:"received"`    // from clients; lines in line mode only
	Sent        Amount    `json:"sent"`        // line mode: to targets
	Confirmed   Amount    `json:"confirmed"`   // line mode
	SentBytes   uint64    `json:"sent_bytes"`  // to clients; connection mode
	Connections uint64    `json:"connections"` // gauge: clients connected
	Waiting     uint64    `json:"waiting"`     // gauge: those that wait because all targets are full

	Spool *SpoolSample `json:"spool,omitempty"` // line mode with -spool
}
