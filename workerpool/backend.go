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
type backend struct {
	target    *target.Target
	accepting atomic.Bool // it takes lines; changed under Pool.mu

	// Pool.mu guards these.
	wantWorkers   int // how many workers belong here
	workers       int // how many there are
	removing      bool
	drainingSince time.Time // the last time
	drainedSince  time.Time // zero: not yet

	failovers, failbacks, stalls atomic.Uint64
	confirmed                    linebuf.AtomicCount
	unacknowledged, unread       linebuf.AtomicCount
	retained                     linebuf.AtomicCount
	logLimiter                   loglimit.Limiter
	roundTrip                    atomic.Int64 // nanoseconds, as of the last look at any connection; see target.Progress
	notHalfCloserAt              atomic.Int64 // when a connection was last seen that had no FIN at its start, Unix nanoseconds
}

func (b *backend) accepts() bool { return b.accepting.Load() }

// useful says that it is worth dialling.
func (b *backend) dialable() bool { return b.accepts() && !b.target.Unhealthy() }

// join counts a connection that is about to be used, unless the place takes no lines. It counts first and looks then: so a place
// that takes no lines and has no connections will have none until it takes lines again.
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

// counts returns what only ever grows.
func (b *backend) counts() TargetStats {
	return TargetStats{
		DialErrors: b.target.DialErrors(),
		Failovers:  b.failovers.Load(),
		Failbacks:  b.failbacks.Load(),
		Stalls:     b.stalls.Load(),
		Confirmed:  b.confirmed.Load(),
		Resent: []Resent{
			{CauseUnacknowledged, b.unacknowledged.Load()},
			{CauseUnread, b.unread.Load()},
		},
	}
}

// Each target logs at most logBurst messages in logPeriod, so that one that flaps does not flood the log.
const (
	logBurst  = 16
	logPeriod = 10 * time.Second
)

// log logs a message about the target unless there have been too many.
func (b *backend) log(logger *slog.Logger, level slog.Level, msg string, args ...any) {
	suppressed, ok := b.logLimiter.Allow()
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "messages_suppressed", suppressed)
	}
	logger.Log(context.Background(), level, msg, args...)
}
