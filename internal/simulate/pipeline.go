package simulate

import (
	"context"

	"linesplit/linebuf"
)

// Pipeline is linesplit as internal/cli starts it. It connects to targets ("host:port", TCP),
// listens on a loopback port of its own choice, and calls running once, as soon as senders can
// connect. It works until ctx ends, then drains, and returns its last ledger when everything that
// it started has ended. The error says that it could not start, or that it could not confirm every
// line; the ledger is valid either way.
//
// For a demonstration of 15 seconds, a displaced connection should attempt to fail back about
// once per second.
type Pipeline func(ctx context.Context, targets []string, running func(Running)) (Ledger, error)

// Running is passed by a pipeline once it accepts connections.
type Running struct {
	// Addr is the address for senders, as "host:port".
	Addr string
	// Ledger returns a snapshot. It is cheap, and any goroutine may call it until the pipeline
	// has returned. May be nil.
	Ledger func() Ledger
}

// Ledger is a pipeline's own account. When no lines are moving, Received = Confirmed + Retained +
// Queued + Dropped.
type Ledger struct {
	Received  linebuf.Count // whole lines read from senders, including lines dropped later
	Confirmed linebuf.Count // left a window: known to have been handed to a target
	Retained  linebuf.Count // written to a target, kept until confirmed
	Queued    linebuf.Count // read, not yet taken by a worker
	Dropped   linebuf.Count // refused, for any reason
	Resent    linebuf.Count // sent again because the first copy may not have been read; not part of the sum
	Spooled   linebuf.Count // written to the spool, if there is one; not part of the sum
	// Targets has one entry for each target, in the order in which they were passed. May be
	// empty.
	Targets []TargetLedger
}

// TargetLedger is the part of a ledger about one target.
type TargetLedger struct {
	Confirmed linebuf.Count
	Resent    linebuf.Count // lines sent again because this target may not have read them
}

// balanced reports whether the ledger adds up, in lines and in bytes.
func (l Ledger) balanced() bool {
	var sum linebuf.Count
	for _, part := range []linebuf.Count{l.Confirmed, l.Retained, l.Queued, l.Dropped} {
		sum.Add(part)
	}
	return l.Received == sum
}
