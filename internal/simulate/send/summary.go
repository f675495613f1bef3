package send

import (
	"time"

	"linesplit/internal/simulate/latency"
)

// Summary is the account of a run.
type Summary struct {
	Seconds float64 `json:"seconds"` // from the first dial to the end of the last client
	Lines   uint64  `json:"lines"`   // whole lines that the kernel has accepted
	Bytes   uint64  `json:"bytes"`   // in these lines, newlines included
	// InDoubt is the highest number of lines that may not have reached the peer, because they
	// were not acknowledged when their connection was lost. If the system does not tell, it is
	// the lines in the last 8 MiB of the connection. Lines that a peer acknowledged but did not
	// read are not included.
	InDoubt  uint64                `json:"in_doubt"`
	Numbered bool                  `json:"numbered"` // lines are numbered records: see Senders
	Clients  map[Kind]*ClientCount `json:"clients"`
	// Senders holds, by sender number, how many lines the kernel has accepted. With numbered
	// records, these are the records from 0 to that number minus 1.
	Senders map[uint32]uint64 `json:"senders"`
	// Requests holds the latencies from the writing of a line to its acknowledgement; nil if
	// there was none.
	Requests *latency.Quantiles `json:"requests,omitempty"`
}

// ClientCount counts the clients of one kind. A client fails at most once, however many
// connections it lost.
type ClientCount struct {
	Started   uint64            `json:"started"`
	Succeeded uint64            `json:"succeeded"` // sent everything, or ended cleanly with the run
	Failed    uint64            `json:"failed"`
	Reasons   map[string]uint64 `json:"reasons,omitempty"` // of failures: refused, reset, closed, stalled, ...
	// connections that failed and that Options.Reconnect replaced, by reason
	Lost map[string]uint64 `json:"lost,omitempty"`
}

func (c *ClientCount) open() int { return int(c.Started - c.Succeeded - c.Failed) }

// Failed returns how many clients failed.
func (s Summary) Failed() (n uint64) {
	for _, c := range s.Clients {
		n += c.Failed
	}
	return n
}

// Progress is the state of a run.
type Progress struct {
	Elapsed      time.Duration
	Lines, Bytes uint64  // accepted by the kernel so far
	Open         int     // connections
	Started      uint64  // clients
	Failed       uint64  // clients
	Lost         uint64  // lost connections that Reconnect replaces
	Done         float64 // completed part of the run, 0 to 1; negative if the end is not known
}
