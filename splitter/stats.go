package splitter

import (
	"sync/atomic"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// Stats counts what a Splitter has done so far. At a quiet moment
//
//	Received = Queued + the sum of Dropped
//
// holds to the line and to the byte. A line is counted when it is handed over or dropped; a line
// that waits for room in the channel is in none of the numbers.
type Stats struct {
	// Received counts complete lines, those dropped included, and newlines added to last or
	// truncated lines.
	Received linebuf.Count
	// Queued counts lines handed to outlets and to the channel. It never falls.
	Queued linebuf.Count
	// Dropped has one entry for each reason, always in the same order.
	Dropped [intake.NumReasons]Dropped
	// TruncatedLines counts lines that were delivered, but not whole.
	TruncatedLines uint64
	// Connections is the number of senders that are connected now.
	Connections int64
	// Accepted counts accepted connections, and HandshakeErrors those of them whose TLS handshake
	// failed.
	Accepted, AcceptErrors, HandshakeErrors uint64
	// CutOff counts senders that were still connected when Tuning.Drain had passed or hard ended.
	CutOff uint64
	// Broken counts senders whose connection could not be read to an orderly end, after its TLS
	// handshake if it has one: by a reset, for lack of answers to keepalives, or since TLS was cut
	// off or altered. Its last line is also dropped as torn if it was unfinished.
	Broken uint64
	// Refused has one entry for each reason, always in the same order.
	Refused [len(refusalNames)]Refused
	// IdleTimeouts and LineTimeouts count senders ended by Tuning.IdleTimeout and LineTimeout.
	IdleTimeouts, LineTimeouts uint64
	// Paused reports whether Tuning.MaxConnections is reached, and Pauses counts how often it was.
	Paused bool
	Pauses uint64
}

// Dropped counts lines that were received and not delivered, for one reason:
//
//   - "oversize": the line was longer than MaxLine.
//   - "closed": it was read behind a line for which Oversize Close closed the connection.
//   - "torn": the connection broke in mid-line.
//   - "memory": unfinished lines took too much memory, and this one had made no headway for the
//     longest time.
//   - "truncated": the ends cut off delivered lines (bytes, no lines).
//   - "shutdown": the hard end came before the channel had room.
//   - "keyless": it has no key, and such lines are to be dropped; see KeyedOutlet.
//   - "framing": it did not begin with its length, as octet counting has it.
type Dropped struct {
	Reason string
	linebuf.Count
}

type counters struct {
	received, queued linebuf.AtomicCount
	dropped          [intake.NumReasons]linebuf.AtomicCount
	truncatedLines   atomic.Uint64
	connections      atomic.Int64
	accepted         atomic.Uint64
	acceptErrors     atomic.Uint64
	handshakeErrors  atomic.Uint64
	cutOff           atomic.Uint64
	broken           atomic.Uint64
	idleTimeouts     atomic.Uint64
	lineTimeouts     atomic.Uint64
	pauses           atomic.Uint64
}

func (c *counters) queue(n linebuf.Count) {
	c.received.Add(n)
	c.queued.Add(n)
}

func (c *counters) drop(why intake.Reason, n linebuf.Count) {
	c.received.Add(n)
	c.dropped[why].Add(n)
}

func (c *counters) lost(l *intake.Losses) {
	for why, n := range l.Dropped {
		if n != (linebuf.Count{}) {
			c.drop(intake.Reason(why), n)
		}
	}
	c.truncatedLines.Add(l.Truncated)
}

// Paused reports whether Tuning.MaxConnections is reached, so that nothing is accepted.
func (s *Splitter) Paused() bool { return s.registry.isPaused() }

// Stats returns a snapshot. It is cheap.
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
		Broken:          c.broken.Load(),
		IdleTimeouts:    c.idleTimeouts.Load(),
		LineTimeouts:    c.lineTimeouts.Load(),
		Paused:          s.registry.isPaused(),
		Pauses:          c.pauses.Load(),
	}
	for i, reason := range refusalNames {
		st.Refused[i] = Refused{reason, s.clients.refused[i].n.Load()}
	}
	for why := range st.Dropped {
		st.Dropped[why] = Dropped{intake.Reason(why).String(), c.dropped[why].Load()}
	}
	st.Received = c.received.Load()
	return st
}
