package workerpool

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"linesplit/target"
)

// Stats is a snapshot of a pool's counters. Lines and bytes count newlines and what stands before them, newline included.
type Stats struct {
	TakenLines, TakenBytes       uint64 // ever taken from the channel
	RetainedLines, RetainedBytes int64  // taken and not confirmed: in windows, or waiting to be sent again
	Targets                      []TargetStats
}

// TargetStats is one target's part of Stats.
type TargetStats struct {
	Name           string // as target.Address.String gives it
	Up             bool   // no check says that it is down, and it is connected or at least not known to be down
	Connections    int
	DialErrors     uint64
	Failovers      uint64 // workers that left this target because it failed
	Failbacks      uint64 // workers that came home to it
	Stalls         uint64 // connections that made no progress for the stall timeout
	ConfirmedLines uint64 // each line once, at the target that it was confirmed at
	ConfirmedBytes uint64
	Resent         []Resent
}

// Resent counts what had been given to a target and was sent again, to it or to another, for one cause.
type Resent struct {
	Cause        string
	Lines, Bytes uint64
}

// The causes of Resent.
const (
	CauseUnacknowledged = "unacknowledged" // the target's kernel never confirmed it
	CauseUnread         = "unread"         // it was acknowledged, but the application may not have read it
)

// place is a target with the counters of the workers that use it.
type place struct {
	target *target.Target

	failovers, failbacks, stalls atomic.Uint64
	confirmed                    counter
	unacknowledged, unread       counter
	words                        limiter
	lasted                       atomic.Int64 // when a connection was last seen that had no FIN at its start, Unix nanoseconds
}

// counter is a tally that many goroutines add to.
type counter struct{ lines, bytes atomic.Uint64 }

func (c *counter) add(t tally) {
	if t.lines == 0 {
		return
	}
	c.lines.Add(t.lines)
	c.bytes.Add(t.bytes)
}

func (p *place) stats() TargetStats {
	return TargetStats{
		Name:           p.target.String(),
		Up:             !p.target.Ejected() && (p.target.Connections() > 0 || !p.target.Down()),
		Connections:    p.target.Connections(),
		DialErrors:     p.target.DialErrors(),
		Failovers:      p.failovers.Load(),
		Failbacks:      p.failbacks.Load(),
		Stalls:         p.stalls.Load(),
		ConfirmedLines: p.confirmed.lines.Load(),
		ConfirmedBytes: p.confirmed.bytes.Load(),
		Resent: []Resent{
			{CauseUnacknowledged, p.unacknowledged.lines.Load(), p.unacknowledged.bytes.Load()},
			{CauseUnread, p.unread.lines.Load(), p.unread.bytes.Load()},
		},
	}
}

const (
	limiterBurst  = 16
	limiterPeriod = 10 * time.Second
)

// limiter lets limiterBurst messages about a target through in limiterPeriod and counts the rest, so that a target that flaps
// does not flood the log. The zero value is ready and safe for concurrent use.
type limiter struct {
	start      atomic.Int64 // of the present period, Unix nanoseconds
	said       atomic.Int64
	suppressed atomic.Int64
}

func (l *limiter) log(logger *slog.Logger, level slog.Level, msg string, args ...any) {
	now := time.Now().UnixNano()
	if start := l.start.Load(); now-start > int64(limiterPeriod) && l.start.CompareAndSwap(start, now) {
		l.said.Store(0)
	}
	if l.said.Add(1) > limiterBurst {
		l.suppressed.Add(1)
		return
	}
	if n := l.suppressed.Swap(0); n > 0 {
		args = append(args, "messages_suppressed", n)
	}
	logger.Log(context.Background(), level, msg, args...)
}
