package delivery

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/loglimit"
	"linesplit/linebuf"
	"linesplit/target"
)

// Settings are the values that machines use. They are replaced as a whole and never changed, so
// that machines read them without a lock.
type Settings struct {
	// StallTimeout is the time without an acknowledgement after which a window moves to a
	// target that confirms.
	StallTimeout time.Duration
	// DeadTimeout is the time of unanswered retransmissions or probes after which a connection
	// has failed.
	DeadTimeout time.Duration
	// FailbackInterval is the longest time between a displaced machine's dials of its home.
	FailbackInterval time.Duration
	// FailbackProbe is the time after which one displaced machine dials its home to find out
	// whether it is back, and the time between such dials.
	FailbackProbe time.Duration
	// ResendAge is the time after which an acknowledged line counts as read if nothing seems
	// unread.
	ResendAge time.Duration
	// WindowMax is the most bytes that a machine retains per connection.
	WindowMax int64
	// StayHome keeps the lines of machines in order from going to another target while home is down
	// or hangs.
	StayHome bool
	// Embedded is the rule for lines that contain the delimiter of their target's framing.
	Embedded framing.Embedded
}

// maxStuckAfter is the time without an acknowledgement after which a connection with data
// outstanding counts as stuck, so that its target does not count as confirming. If half of the
// stall timeout is shorter, that is used: when all targets stop at once, none must seem fit to
// take over from another.
const maxStuckAfter = time.Second

func (s *Settings) stuckAfter() time.Duration { return min(maxStuckAfter, s.StallTimeout/2) }

// drainTimeout is the time without progress after which a connection to a draining target is given
// up. By then age has confirmed what was read: ackHistory has a point per historyParts-th of the
// age, ticks note it, and ticks find that it is old.
func (s *Settings) drainTimeout() time.Duration {
	return s.ResendAge + max(s.StallTimeout, s.ResendAge/historyParts+2*target.Tick)
}

// Observer takes one sample in seconds; a Prometheus histogram is one. It must be safe for
// concurrent use.
type Observer interface{ Observe(float64) }

// Shared is the state that machines share. It is safe for concurrent use once its settings and
// backends are set.
type Shared struct {
	buffers        *linebuf.Pool
	confirmSeconds Observer
	logger         *slog.Logger
	intN           func(int) int

	settings atomic.Pointer[Settings]
	backends atomic.Pointer[Backends]

	taken, retained linebuf.AtomicCount
	leftovers
	reframed reframed
	hindered loglimit.Limiter // of dials that failed for a lack of resources
}

// NewShared returns the state of machines that give confirmed buffers back to buffers and report
// how long lines took from their reading to their confirmation. Random choices come from intN, as
// rand.IntN, which nil stands for.
func NewShared(buffers *linebuf.Pool, confirmSeconds Observer, logger *slog.Logger, intN func(int) int) *Shared {
	if intN == nil {
		intN = rand.IntN
	}
	return &Shared{buffers: buffers, confirmSeconds: confirmSeconds, logger: logger, intN: intN}
}

// Settings returns the settings in force.
func (s *Shared) Settings() *Settings { return s.settings.Load() }

// SetSettings replaces the settings. Durations count from when they began.
func (s *Shared) SetSettings(set *Settings) { s.settings.Store(set) }

// Backends returns the present list.
func (s *Shared) Backends() *Backends { return s.backends.Load() }

// SetBackends replaces the list.
func (s *Shared) SetBackends(l *Backends) { s.backends.Store(l) }

// Taken counts what machines have been given so far.
func (s *Shared) Taken() linebuf.Count { return s.taken.Load() }

// Retained counts what they have been given and is not confirmed: in windows or in retry queues.
func (s *Shared) Retained() linebuf.Count { return s.retained.Load() }

// FlushLog logs what the log has held back to report it in sum.
func (s *Shared) FlushLog() { s.hindered.Flush() }

func (s *Shared) countTaken(n linebuf.Count) {
	s.taken.Add(n)
	s.retained.Add(n)
}

// countSettled counts lines that have left the window of c for good: as rejected those that the
// target has refused, as confirmed the others.
func (s *Shared) countSettled(c *outConn, n linebuf.Count) {
	if n.Lines == 0 {
		return
	}
	s.retained.Sub(n)
	if refused := c.newlyRejected(n); refused.Lines > 0 {
		c.rejected.Add(refused)
		c.backend.rejected.Add(refused)
		n.Sub(refused)
	}
	c.backend.confirmed.Add(n)
}

// newlyRejected returns how many of n lines that leave the window the target has refused, as of the
// last look. If a look has counted more of them than leave the window, the rest counts later.
func (c *outConn) newlyRejected(n linebuf.Count) linebuf.Count {
	return linebuf.Count{
		Lines: min(n.Lines, c.seen.RejectedLines-c.rejected.Lines),
		Bytes: min(n.Bytes, c.seen.RejectedBytes-c.rejected.Bytes),
	}
}
