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
