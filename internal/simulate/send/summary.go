package send

import (
	"time"

	"linesplit/internal/simulate/latency"
)

// Summary is the account of a run.
type Summary struct {
	Seconds float64 `json:"seconds"` // from the first dial to the end of the last client
	Lines   uint64  `json:"lines"`   // whole lines that the kernel has taken
	Bytes   uint64  `json:"bytes"`   // in them, newlines included
	// InDoubt is how many of the lines, at most, may not have reached the peer: they were not acknowledged when their connection was
	// lost. Where the system does not tell it is the last 8 MiB of a lost connection. What a peer acknowledged and did not read is not
	// in it.
	InDoubt  uint64                `json:"in_doubt"`
	Numbered bool                  `json:"numbered"` // lines are records: see Senders
	Clients  map[Kind]*ClientCount `json:"clients"`
	// Senders has for each number of a sender how many lines the kernel has taken: if they are numbered, records 0 to that many less one.
	Senders map[uint32]uint64 `json:"senders"`
	// Requests is how long the acknowledgements of Request clients took, from the write on; nil where there was none.
	Requests *latency.Quantiles `json:"requests,omitempty"`
}

// ClientCount is what became of the clients of one kind. A client fails once at most, however many connections it lost.
type ClientCount struct {
	Started   uint64            `json:"started"`
	Succeeded uint64            `json:"succeeded"` // sent all they had to, or ended in order with the run
	Failed    uint64            `json:"failed"`
	Reasons   map[string]uint64 `json:"reasons,omitempty"` // of failures: refused, reset, closed, timeout, ...
	Lost      map[string]uint64 `json:"lost,omitempty"`    // connections that were not to be had or did not last, and that Options.Reconnect made good
}

func (c *ClientCount) open() int { return int(c.Started - c.Succeeded - c.Failed) }

// Failed returns how many clients failed.
func (s Summary) Failed() (n uint64) {
	for _, c := range s.Clients {
		n += c.Failed
	}
	return n
}

// Progress is where a run stands.
type Progress struct {
	Elapsed      time.Duration
	Lines, Bytes uint64  // taken by the kernel so far
	Open         int     // connections
	Started      uint64  // clients
	Failed       uint64  // of these
	Lost         uint64  // connections that were made good, or are being
	Done         float64 // how much of the run is over, 0 to 1; below 0 if its end is not known
}
