package workerpool

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"linesplit/internal/loglimit"
	"linesplit/linebuf"
	"linesplit/target"
)

// Stats is a snapshot of a pool's counters. Lines and bytes count newlines and what stands before them, newline included.
type Stats struct {
	Taken    linebuf.Count // ever taken from the channel
	Retained linebuf.Count // taken and not confirmed: in windows, or waiting to be sent again
	Targets  []TargetStats
	Removed  TargetStats // sums of what targets that are gone have counted; nothing else of it is set
}

// TargetStats is one target's part of Stats.
type TargetStats struct {
	Name        string // as target.Address.String gives it
	Up          bool   // no check says that it is down, and it is connected or at least not known to be down
	State       string // target.StateUnknown, StateUp, StateDown, StateDraining or StateDrained: what it is for those who may go there
	Since       time.Time
	Removing    bool   // it is being drained to be removed
	LastError   string // of a dial, a check or a connection, whatever came after it; empty: there was none
	LastErrorAt time.Time
	RoundTrip   time.Duration // of TCP, as of the last look at any of its connections; 0: not known
	Connections int
	Retained    linebuf.Count // in the windows of its connections, as of the last look at each, a moment ago
	DialErrors  uint64
	Failovers   uint64        // workers that left this target because it failed
	Failbacks   uint64        // workers that came home to it
	Stalls      uint64        // connections that made no progress for the stall timeout
	Confirmed   linebuf.Count // each line once, at the target that it was confirmed at
	Resent      []Resent
}

// Resent counts what had been given to a target and was sent again, to it or to another, for one cause.
type Resent struct {
	Cause string
	linebuf.Count
}

// The causes of Resent.
const (
	CauseUnacknowledged = "unacknowledged" // the target's kernel never confirmed it
	CauseUnread         = "unread"         // it was acknowledged, but the application may not have read it
)

// place is a target with the counters of the workers that use it.
type place struct {
	target *target.Target
	taking atomic.Bool // it takes lines; changed under Pool.mu

	// Pool.mu guards these.
	staff         int // how many workers belong here
	workers       int // how many there are
	removing      bool
	drainingSince time.Time // the last time
	drainedSince  time.Time // zero: not yet

	failovers, failbacks, stalls atomic.Uint64
	confirmed                    linebuf.AtomicCount
	unacknowledged, unread       linebuf.AtomicCount
	windows                      linebuf.AtomicCount
	logLimiter                   loglimit.Limiter
	roundTrip                    atomic.Int64 // nanoseconds, as of the last look at any connection; see target.Progress
	lasted                       atomic.Int64 // when a connection was last seen that had no FIN at its start, Unix nanoseconds
}

func (p *place) takes() bool { return p.taking.Load() }

// useful says that it is worth dialling.
func (p *place) useful() bool { return p.takes() && !p.target.Unhealthy() }

// join counts a connection that is about to be used, unless the place takes no lines. It counts first and looks then: so a place
// that takes no lines and has no connections will have none until it takes lines again.
func (p *place) join() bool {
	p.target.Joined()
	if p.takes() {
		return true
	}
	p.target.Left()
	return false
}

// stats needs Pool.mu.
func (p *place) stats() TargetStats {
	s := p.counts()
	s.Name = p.target.String()
	s.Up = !p.target.Unhealthy() && (p.target.Connections() > 0 || !p.target.Down())
	s.Connections, s.RoundTrip = p.target.Connections(), time.Duration(p.roundTrip.Load())
	s.Retained = p.windows.Load()
	status := p.target.Status()
	s.LastError, s.LastErrorAt = status.LastError, status.LastErrorAt
	s.State, s.Since, s.Removing = status.State, status.Since, p.removing
	switch {
	case p.takes():
	case p.drainedSince.IsZero():
		s.State, s.Since = target.StateDraining, p.drainingSince
	default:
		s.State, s.Since = target.StateDrained, p.drainedSince
	}
	return s
}

// counts returns what only ever grows.
func (p *place) counts() TargetStats {
	return TargetStats{
		DialErrors: p.target.DialErrors(),
		Failovers:  p.failovers.Load(),
		Failbacks:  p.failbacks.Load(),
		Stalls:     p.stalls.Load(),
		Confirmed:  p.confirmed.Load(),
		Resent: []Resent{
			{CauseUnacknowledged, p.unacknowledged.Load()},
			{CauseUnread, p.unread.Load()},
		},
	}
}

func noStats() TargetStats {
	return TargetStats{Resent: []Resent{{Cause: CauseUnacknowledged}, {Cause: CauseUnread}}}
}

// add adds what place.counts returns for another target.
func (s *TargetStats) add(o TargetStats) {
	s.DialErrors += o.DialErrors
	s.Failovers += o.Failovers
	s.Failbacks += o.Failbacks
	s.Stalls += o.Stalls
	s.Confirmed.Add(o.Confirmed)
	for i, r := range o.Resent {
		s.Resent[i].Add(r.Count)
	}
}

// Each target logs at most logBurst messages in logPeriod, so that one that flaps does not flood the log.
const (
	logBurst  = 16
	logPeriod = 10 * time.Second
)

// log logs a message about the target unless there have been too many.
func (p *place) log(logger *slog.Logger, level slog.Level, msg string, args ...any) {
	suppressed, ok := p.logLimiter.Allow()
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "messages_suppressed", suppressed)
	}
	logger.Log(context.Background(), level, msg, args...)
}
