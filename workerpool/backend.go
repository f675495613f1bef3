package workerpool

import (
	"sync/atomic"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// backend is a target with the counters of the workers that use it.
type backend struct {
	target    *target.Target
	accepting atomic.Bool // takes lines; changed under Pool.mu

	// Pool.mu guards the fields below, up to the counters.
	wantWorkers   int // workers that it should have
	workers       int // workers that it has
	removing      bool
	drainingSince time.Time // start of the last drain
	drainedSince  time.Time // zero: not drained yet

	failovers, failbacks, stalls atomic.Uint64
	sent, acknowledged           linebuf.AtomicCount // each time that a line was sent
	confirmed                    linebuf.AtomicCount
	unacknowledged, unread       linebuf.AtomicCount
	retained                     linebuf.AtomicCount
	logs                         backendLogs
	exact                        atomic.Int64 // connections whose peer's kernel tells what is unread
	roundTrip                    atomic.Int64 // nanoseconds, as of the last look at any connection; see target.Progress
	probedAt                     atomic.Int64 // when a displaced worker last dialled to find out whether it is back, Unix nanoseconds
	// notHalfCloserAt is when a connection was last seen that got no FIN within
	// halfCloserWithin, in Unix nanoseconds.
	notHalfCloserAt atomic.Int64
}

func (b *backend) accepts() bool { return b.accepting.Load() }

// dialable reports whether the backend takes lines and no check has found it down.
func (b *backend) dialable() bool { return b.accepts() && !b.target.Unhealthy() }

// join counts a connection that is about to be used, unless the backend takes no lines. It
// counts first and checks second: so a backend that takes no lines and has no connections will
// have none until it takes lines again.
func (b *backend) join() bool {
	b.target.Joined()
	if b.accepts() {
		return true
	}
	b.target.Left()
	return false
}

// stats needs Pool.mu.
func (b *backend) stats() TargetStats {
	s := b.counts()
	s.Name = b.target.String()
	s.Up = !b.target.Unhealthy() && (b.target.Connections() > 0 || !b.target.Down())
	s.Connections, s.RoundTrip = b.target.Connections(), time.Duration(b.roundTrip.Load())
	s.ExactConnections = int(b.exact.Load())
	s.Retained = b.retained.Load()
	status := b.target.Status()
	s.LastError, s.LastErrorAt = status.LastError, status.LastErrorAt
	s.State, s.Since, s.Removing = status.State, status.Since, b.removing
	switch {
	case b.accepts():
	case b.drainedSince.IsZero():
		s.State, s.Since = target.StateDraining, b.drainingSince
	default:
		s.State, s.Since = target.StateDrained, b.drainedSince
	}
	return s
}

// counts returns the counters that only grow.
func (b *backend) counts() TargetStats {
	return TargetStats{
		DialErrors:   b.target.DialErrors(),
		Failovers:    b.failovers.Load(),
		Failbacks:    b.failbacks.Load(),
		Stalls:       b.stalls.Load(),
		Sent:         b.sent.Load(),
		Acknowledged: b.acknowledged.Load(),
		Confirmed:    b.confirmed.Load(),
		Resent: []Resent{
			{CauseUnacknowledged, b.unacknowledged.Load()},
			{CauseUnread, b.unread.Load()},
		},
	}
}
