package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"linesplit/target"
)

// minDialTime is the time that a target must have had to answer before a timeout counts as its
// failure.
const minDialTime = time.Second

// Dial tries once to connect to b, within limit, and reports the outcome to the target, the log and
// the metrics. The caller closes the connection. A dial that ctx has cancelled is not a failure of
// the target.
func (s *Backends) Dial(ctx context.Context, b *Backend, header []byte, limit time.Duration) (net.Conn, error) {
	a := s.Attempt(b, limit)
	o := &s.settings.Load().DialOptions
	if o.Timeout != a.Limit {
		shorter := *o
		shorter.Timeout = a.Limit
		o = &shorter
	}
	nc, err := target.Dial(ctx, b.Target.Address, o, header)
	switch {
	case err == nil:
		a.Succeeded()
	case ctx.Err() == nil:
		a.Failed(err)
	}
	return nc, err
}

// Attempt is one attempt to connect to a backend. The caller reports its outcome, unless it gives
// the attempt up.
type Attempt struct {
	// Limit is the time that it may take.
	Limit time.Duration

	backends *Backends
	b        *Backend
	start    time.Time
	budget   time.Duration // Tuning.DialBudget
	hurried  bool          // the time that the caller had left is less than the time of a dial
}

// Attempt begins an attempt that may take as long as the settings say and no longer than limit.
func (s *Backends) Attempt(b *Backend, limit time.Duration) Attempt {
	set := s.settings.Load()
	a := Attempt{Limit: set.DialOptions.Timeout, backends: s, b: b, start: time.Now(), budget: set.DialBudget}
	if a.Limit <= 0 || limit < a.Limit {
		a.Limit, a.hurried = limit, true
	}
	return a
}

// Succeeded reports the success to the target, the log and the metrics.
func (a *Attempt) Succeeded() {
	took := time.Since(a.start)
	a.b.Target.DialSucceeded()
	a.b.total.Add(1)
	a.b.connectTime.Store(int64(took))
	a.backends.groupOf(a.b).SetUnreachable(false)
	if observer := a.backends.connectSeconds; observer != nil {
		observer.Observe(took.Seconds())
	}
}

// Failed reports an error. One for want of resources, or a timeout that came too early, is not the
// target's failure.
func (a *Attempt) Failed(err error) {
	switch {
	case target.IsLocalError(err):
		a.b.Target.DialHindered(err)
		a.backends.dialsFailed.Warn(a.backends.logger, "cannot dial for want of resources", slog.Any("err", err))
	case a.hurried && a.Limit < min(minDialTime, a.budget/4) && timedOut(err):
	default:
		a.b.Target.DialFailed(err)
	}
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
