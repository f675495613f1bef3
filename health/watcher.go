package health

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"time"

	"linesplit/internal/loglimit"
	"linesplit/target"
)

// While the state of a target is unknown or about to change, checks come fastFactor times as often,
// but with at least minInterval between them.
const (
	fastFactor  = 5
	minInterval = 100 * time.Millisecond
)

// jitter is the maximum random share by which a wait is longer or shorter, so that many checkers do
// not fall into step.
const jitter = 0.1

// watcher checks one target. Only its own goroutine uses it, except for the fields that Checker.mu
// guards.
type watcher struct {
	*Checker
	target *target.Target

	// Checker.mu guards these. They are nil until run starts.
	stop  context.CancelFunc // ends run
	ended chan struct{}      // closed after run

	set        *settings // used at present
	verdict    verdict
	last       time.Time // when a check last ended; zero: none has
	checked    bool      // at least one check has had a result
	localError bool      // the last check failed for a lack of local resources
	localLog   loglimit.Limiter
}

// run checks or redials the target until ctx ends. It starts anew with each replacement of the
// settings.
func (w *watcher) run(ctx context.Context) {
	defer w.localLog.Flush()
	for ctx.Err() == nil {
		w.set = w.Checker.settings.Load()
		if w.set.Check.appliesTo(w.target.Address) {
			w.watch(ctx)
		} else {
			// A dial to a UDP target proves only that its name resolves and has a route, but a
			// failed dial of such a target had disproved nothing else.
			w.forgetChecks()
			w.redial(ctx)
		}
	}
}

// forgetChecks marks the target up again if checks marked it down, because no other check would.
func (w *watcher) forgetChecks() {
	if w.target.Unhealthy() {
		w.target.CheckedUp()
	}
	w.verdict, w.last, w.checked, w.localError = verdict{up: true}, time.Time{}, false, false
}

// watch checks the target until ctx ends or the settings are replaced.
func (w *watcher) watch(ctx context.Context) {
	a := w.target.Address
	w.verdict.rise, w.verdict.fall = cmp.Or(a.Rise, w.set.Rise), cmp.Or(a.Fall, w.set.Fall)
	for w.wait(ctx, w.untilNext()) {
		w.checkOnce(ctx)
		w.last = time.Now()
	}
}

// untilNext returns the time until the next check.
func (w *watcher) untilNext() time.Duration {
	if w.last.IsZero() {
		return time.Duration(rand.Float64() * float64(w.fast()))
	}
	return time.Until(w.last.Add(w.interval()))
}

// checkOnce makes one check and reports its result.
func (w *watcher) checkOnce(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, w.set.Timeout)
	defer cancel()
	start := time.Now()
	err := w.check(limited, w.target.Address)
	switch {
	case ctx.Err() != nil: // the check may have failed because ctx ended
	case isLocalError(err):
		w.reportLocalError(err)
	default:
		w.localError = false
		w.set.Observe(w.target, err == nil, time.Since(start))
		w.record(err)
	}
}

func (w *watcher) record(err error) {
	w.checked = true
	w.verdict.add(err == nil)
	if err != nil {
		w.set.Logger.Debug("check failed", "target", w.target.String(), "err", err)
	}
	switch {
	case err == nil && w.verdict.up:
		w.target.CheckedUp()
	case err != nil && !w.verdict.up:
		w.target.CheckedDown(err)
	}
}

func (w *watcher) reportLocalError(err error) {
	if !w.localError {
		w.localLog.Warn(w.set.Logger, "cannot check targets", slog.String("target", w.target.String()), slog.Any("err", err))
	}
	w.localError = true
}

// wait waits for d, or less if failed dials bring the next check forward, and then returns true. It
// returns false if ctx ends or the settings are replaced first.
func (w *watcher) wait(ctx context.Context, d time.Duration) bool {
	due := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.set.replaced:
			return false
		case <-timer.C:
			return ctx.Err() == nil
		case <-w.target.Failed():
			due = earlier(due, time.Now().Add(w.fast()))
			timer.Reset(time.Until(due))
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// interval returns the wait between two checks, with jitter.
func (w *watcher) interval() time.Duration {
	d := w.steady()
	if !w.checked || w.verdict.changing() || w.verdict.up && w.target.Down() {
		d = w.fast()
	}
	return time.Duration((1 + jitter*(2*rand.Float64()-1)) * float64(d))
}

// steady returns the interval while nothing changes: the target's own, or that of all.
func (w *watcher) steady() time.Duration {
	return cmp.Or(w.target.Address.HealthInterval, w.set.Interval)
}

func (w *watcher) fast() time.Duration {
	return min(w.steady(), max(minInterval, w.steady()/fastFactor))
}

// isLocalError reports whether err is a lack of resources on this machine, which is no evidence
// about the target.
func isLocalError(err error) bool {
	var start *startError // from anything else, EAGAIN means a Unix socket whose backlog is full
	return target.IsLocalError(err) || errors.As(err, &start) && errors.Is(err, syscall.EAGAIN)
}
