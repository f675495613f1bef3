package delivery

import (
	"log/slog"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Backend is a target with the counters of the machines that use it. It is safe for concurrent use.
type Backend struct {
	Target *target.Target

	accepting atomic.Bool

	failovers, failbacks, stalls atomic.Uint64
	sent, acknowledged           linebuf.AtomicCount // each time that a line was sent
	confirmed, rejected          linebuf.AtomicCount
	unacknowledged, unread       linebuf.AtomicCount
	retained                     linebuf.AtomicCount
	unlogged                     linebuf.AtomicCount // refused, and not in the log yet
	logs                         backendLogs
	exact                        atomic.Int64 // connections whose peer's kernel tells what is unread
	roundTrip                    atomic.Int64 // nanoseconds, as of the last look at any connection; see target.Progress
	probedAt                     atomic.Int64 // when a displaced machine last dialled to find out whether it is back, Unix nanoseconds
	cutShort                     atomic.Int64 // failed connections in a row that the peer has reset at once
	futile                       atomic.Int64 // connections in a row that the peer has reset at once, before it confirmed anything
	inUse                        atomic.Int64 // connections that are not about to be left
	// notHalfCloserAt is when a connection was last seen that got no FIN within
	// halfCloserWithin, in Unix nanoseconds.
	notHalfCloserAt atomic.Int64
}

// NewBackend returns a backend that takes lines.
func NewBackend(a target.Address, logger *slog.Logger) *Backend {
	b := &Backend{Target: target.New(a, logger)}
	b.logs.init()
	b.accepting.Store(true)
	return b
}

// Accepts reports whether the backend takes lines.
func (b *Backend) Accepts() bool { return b.accepting.Load() }

// SetAccepting changes whether the backend takes lines. A list of backends that was made before
// does not change; see [NewBackends].
func (b *Backend) SetAccepting(v bool) { b.accepting.Store(v) }

// dialable reports whether the backend takes lines and no check has found it down.
func (b *Backend) dialable() bool { return b.Accepts() && !b.Target.Unhealthy() }

// join counts a connection that is about to be used, unless the backend takes no lines. It
// counts first and checks second: so a backend that takes no lines and has no connections will
// have none until it takes lines again.
func (b *Backend) join() bool {
	b.Target.Joined()
	if b.Accepts() {
		return true
	}
	b.Target.Left()
	return false
}

// Gauges are the values of a backend that rise and fall.
type Gauges struct {
	Connections int
	// ExactConnections are those of which the kernel tells what the target has not read; see
	// target.Progress.Exact.
	ExactConnections int
	RoundTrip        time.Duration // of TCP, as of the last look at any of its connections; 0: unknown
	Retained         linebuf.Count // in the windows of its connections, as of the last look at each
}

// Gauges returns the present values.
func (b *Backend) Gauges() Gauges {
	return Gauges{
		Connections:      b.Target.Connections(),
		ExactConnections: int(b.exact.Load()),
		RoundTrip:        time.Duration(b.roundTrip.Load()),
		Retained:         b.retained.Load(),
	}
}

// Counters are the values of a backend that only grow.
type Counters struct {
	DialErrors uint64
	Failovers  uint64 // workers that left this target because it failed
	Failbacks  uint64 // workers that came back to it as their home
	Stalls     uint64 // connections without progress for the stall timeout
	// Sent and Acknowledged count the lines that were written to its connections, and those of them
	// that its kernel has acknowledged, each time that a line was sent. They lag by a tick,
	// target.Tick.
	Sent, Acknowledged linebuf.Count
	Confirmed          linebuf.Count // each line once, at the target that confirmed it
	Rejected           linebuf.Count // each line once, at the target that has refused it for good
	Resent             []Resent
}

// Resent counts lines that a target had been given and that were sent again, to it or to
// another, for one cause.
type Resent struct {
	Cause string
	linebuf.Count
}

// These are the causes of Resent.
const (
	CauseUnacknowledged = "unacknowledged" // the target's kernel never acknowledged it
	CauseUnread         = "unread"         // it was acknowledged, but the application may not have read it
)

// Counters returns the present values.
func (b *Backend) Counters() Counters {
	return Counters{
		DialErrors:   b.Target.DialErrors(),
		Failovers:    b.failovers.Load(),
		Failbacks:    b.failbacks.Load(),
		Stalls:       b.stalls.Load(),
		Sent:         b.sent.Load(),
		Acknowledged: b.acknowledged.Load(),
		Confirmed:    b.confirmed.Load(),
		Rejected:     b.rejected.Load(),
		Resent: []Resent{
			{CauseUnacknowledged, b.unacknowledged.Load()},
			{CauseUnread, b.unread.Load()},
		},
	}
}

// Add adds the counters of another target.
func (s *Counters) Add(o Counters) {
	s.DialErrors += o.DialErrors
	s.Failovers += o.Failovers
	s.Failbacks += o.Failbacks
	s.Stalls += o.Stalls
	s.Sent.Add(o.Sent)
	s.Acknowledged.Add(o.Acknowledged)
	s.Confirmed.Add(o.Confirmed)
	s.Rejected.Add(o.Rejected)
	for i, r := range o.Resent {
		s.Resent[i].Add(r.Count)
	}
}

// Backends is a list of backends. It is replaced as a whole and never changed, so that machines
// read it without a lock. A machine with an old list cannot use a target that was drained since:
// join refuses.
type Backends struct {
	all       []*Backend // in the order of the configuration, added ones last
	accepting target.Set // those that take lines

	primaries, backups target.Set // of accepting
}

// NewBackends returns a list that the caller does not change any more. It has to be made anew when
// [Backend.SetAccepting] was called.
func NewBackends(all []*Backend) *Backends {
	l := &Backends{all: all}
	for _, b := range all {
		if !b.Accepts() {
			continue
		}
		l.accepting = append(l.accepting, b.Target)
		if b.isBackup() {
			l.backups = append(l.backups, b.Target)
		} else {
			l.primaries = append(l.primaries, b.Target)
		}
	}
	return l
}

// AnyAccepts reports whether a backend of the list takes lines.
func (l *Backends) AnyAccepts() bool { return len(l.accepting) > 0 }

// of returns the backend of t, nil if it is not, or no longer, listed.
func (l *Backends) of(t *target.Target) *Backend {
	for _, b := range l.all {
		if b.Target == t {
			return b
		}
	}
	return nil
}
