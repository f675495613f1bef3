package admin

// Snapshot is what there is to know of a run at one moment. Counts named …Lines and …Bytes belong together: bytes
// include newlines. All but the gauges only ever grow. The ledger over it, at quiet moments:
//
//	received = Σ confirmed + retained + queued + Σ dropped
type Snapshot struct {
	ReceivedLines, ReceivedBytes uint64 // complete lines read from senders, dropped ones included
	Dropped                      []Dropped
	TruncatedLines               uint64 // lines cut to the longest allowed length

	QueuedLines, QueuedBytes     int64 // gauges: read, not yet taken by a worker
	QueueBuffers, QueueCapacity  int   // gauges: buffers on the channel, and how many it takes
	RetainedLines, RetainedBytes int64 // gauges: written to targets, not yet confirmed

	Targets []Target

	Connections     int64  // gauge: senders connected
	Accepted        uint64 // senders ever accepted
	CutOff          uint64 // senders still connected when the drain ended
	AcceptErrors    uint64
	HandshakeErrors uint64 // of senders' TLS

	MemoryBytes, MemoryLimit int64 // gauges: bytes held by lines, and the budget for it

	Refused []Count
	Checks  []Checks
}

// Count is a number of connections with what sets it apart from others.
type Count struct {
	Label string // of a small, fixed set
	N     uint64
}

// Checks counts the health checks of one target by how they ended.
type Checks struct {
	Target         string
	Passed, Failed uint64
}

// Dropped counts what was dropped for one reason.
type Dropped struct {
	Reason       string // of a small, fixed set: it becomes a label
	Lines, Bytes uint64
}

// Target is what there is to know of one target.
type Target struct {
	Name        string // the address: it becomes a label
	Removed     bool   // it is the sum over targets that are gone: it has counts alone, and no gauges
	Up          bool   // gauge: not known to be down
	Connections int    // gauge: open connections to it

	ConfirmedLines, ConfirmedBytes uint64
	Resent                         []Resent

	DialErrors, Failovers, Failbacks, Stalls uint64
}

// Resent counts what was sent a second time for one cause, and so may have arrived twice.
type Resent struct {
	Cause        string // of a small, fixed set: it becomes a label
	Lines, Bytes uint64
}
