package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"linesplit/target"
)

// While a target's state is about to change, checks come this much faster, but no closer than
// minInterval.
const (
	hurry       = 5
	minInterval = 100 * time.Millisecond
)

// jitter is by what share of itself a wait is longer or shorter, at random, so that many checkers
// do not fall into step.
const jitter = 0.1

// watcher looks after one target. Its goroutine alone touches it, but for the fields that say
// otherwise.
type watcher struct {
	*Checker
	target *target.Target
	stop   context.CancelFunc // ends run; as ended, set under Checker.mu before it starts, nil if it never did
	ended  chan struct{}      // closed after run

	set     *settings // in force
	verdict verdict
	last    time.Time // when a check last ended; zero: none has
	known   bool      // a check has told something
	blind   bool      // the last check could not be made, by no fault of the target's
}

// run goes on until ctx ends, each round with the settings of its time.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.set = w.Checker.settings.Load()
		if w.set.Check.suits(w.target.Address) {
			w.watch(ctx)
		} else { // of a UDP target a trial proves no more than that it has an address and a way to it, but no dial that failed has denied more
			w.forget()
			w.tryAgain(ctx)
		}
	}
}

// forget clears the verdict of the checks, which only checks can clear.
func (w *watcher) forget() {
	if w.target.Unhealthy() {
		w.target.CheckedUp()
	}
	w.verdict, w.last, w.known, w.blind = verdict{up: true}, time.Time{}, false, false
}

// watch checks the target until ctx ends or the settings are replaced.
func (w *watcher) watch(ctx context.Context) {
	w.verdict.rise, w.verdict.fall = w.set.Rise, w.set.Fall
	for w.wait(ctx, w.due()) {
		w.once(ctx)
		w.last = time.Now()
	}
}

// due is how long it is to the next check.
func (w *watcher) due() time.Duration {
	if w.last.IsZero() {
		return time.Duration(rand.Float64() * float64(w.fast()))
	}
	return time.Until(w.last.Add(w.interval()))
}

// once makes one check and tells its result.
func (w *watcher) once(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, w.set.Timeout)
	defer cancel()
	start := time.Now()
	err := w.check(limited, w.target.Address)
	switch {
	case ctx.Err() != nil: // it may have failed for that
	case ours(err):
		w.skipped(err)
	default:
		w.blind = false
		w.set.Observe(w.target, err == nil, time.Since(start))
		w.judge(err)
	}
}

func (w *watcher) judge(err error) {
	w.known = true
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

func (w *watcher) skipped(err error) {
	if !w.blind {
		w.set.Logger.Warn("cannot check targets", "target", w.target.String(), "err", err)
	}
	w.blind = true
}

// wait returns true after d, sooner if failed dials suggest another look at the target; and false
// if there is to be no look.
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

// interval is how long to wait for the next check.
func (w *watcher) interval() time.Duration {
	d := w.set.Interval
	if !w.known || w.verdict.turning() || w.verdict.up && w.target.Down() {
		d = w.fast()
	}
	return time.Duration((1 + jitter*(2*rand.Float64()-1)) * float64(d))
}

func (w *watcher) fast() time.Duration {
	return min(w.set.Interval, max(minInterval, w.set.Interval/hurry))
}

// ours says that err is a lack of resources on this machine, which says nothing about the target.
func ours(err error) bool {
	var start *startError // elsewhere EAGAIN comes from a Unix socket whose backlog is full
	return target.IsLocalError(err) || errors.As(err, &start) && errors.Is(err, syscall.EAGAIN)
}
