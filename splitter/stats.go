package splitter

import (
	"sync/atomic"

	"linesplit/linebuf"
)

// Stats is what a Splitter has done so far. At a quiet moment
//
//	Received = Queued + the sum of Dropped
//
// holds to the line and to the byte. Lines are counted when they are handed over or dropped, so that a line which
// waits for room in the channel is in none of the numbers.
type Stats struct {
	// Received counts complete lines, those dropped included, and a newline that was added to a last line or to a
	// truncated one.
	Received linebuf.Count
	// Queued has been handed to the channel. It never falls.
	Queued linebuf.Count
	// Dropped has one entry for each reason, always the same in the same order.
	Dropped [numReasons]Dropped
	// TruncatedLines were delivered, but not whole.
	TruncatedLines uint64
	// Connections is how many senders are connected now.
	Connections int64
	// Accepted counts connections, HandshakeErrors those of them that did not get through the TLS handshake.
	Accepted, AcceptErrors, HandshakeErrors uint64
	// CutOff counts senders that were still connected when Options.Drain had passed, or when the hard end came.
	CutOff uint64
}

// Dropped counts what was received and not delivered for one reason: "oversize", longer than MaxLine; "torn", the
// connection broke in mid-line; "memory", the longest unfinished line when unfinished lines took too much memory;
// "truncated", what was cut off lines that were delivered (bytes, no lines); "shutdown", nobody took it any more.
type Dropped struct {
	Reason string
	linebuf.Count
}

type reason uint8

const (
	oversize reason = iota
	torn
	memory
	truncated
	shutdown
	numReasons
)

var reasonNames = [numReasons]string{"oversize", "torn", "memory", "truncated", "shutdown"}

type counters struct {
	received, queued linebuf.AtomicCount
	dropped          [numReasons]linebuf.AtomicCount
	truncatedLines   atomic.Uint64
	connections      atomic.Int64
	accepted         atomic.Uint64
	acceptErrors     atomic.Uint64
	handshakeErrors  atomic.Uint64
	cutOff           atomic.Uint64
}

func (c *counters) queue(n linebuf.Count) {
	c.received.Add(n)
	c.queued.Add(n)
}

func (c *counters) drop(why reason, n linebuf.Count) {
	c.received.Add(n)
	c.dropped[why].Add(n)
}

func (c *counters) cut(r *cut) {
	if !r.lossy {
		return
	}
	for why, n := range r.dropped {
		if n != (linebuf.Count{}) {
			c.drop(reason(why), n)
		}
	}
	c.truncatedLines.Add(r.truncated)
}

// Stats returns a snapshot. It is cheap, and any goroutine may ask for it.
func (s *Splitter) Stats() Stats {
	c := &s.counters
	st := Stats{
		Queued:          c.queued.Load(),
		TruncatedLines:  c.truncatedLines.Load(),
		Connections:     c.connections.Load(),
		Accepted:        c.accepted.Load(),
		AcceptErrors:    c.acceptErrors.Load(),
		HandshakeErrors: c.handshakeErrors.Load(),
		CutOff:          c.cutOff.Load(),
	}
	for why := range st.Dropped {
		st.Dropped[why] = Dropped{reasonNames[why], c.dropped[why].Load()}
	}
	st.Received = c.received.Load()
	return st
}
