// Package health finds out which targets are up: with active checks, or where there are none, with trial connections to those that
// failed dials have marked down.
package health

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"linesplit/target"
)

// Defaults of [Options].
const (
	defaultInterval = 5 * time.Second
	defaultTimeout  = 2 * time.Second
	defaultRise     = 2
	defaultFall     = 3
	defaultTrial    = time.Second
)

// While a target's state is about to change, checks come this much faster, but no closer than minInterval.
const (
	hurry       = 5
	minInterval = 100 * time.Millisecond
)

// jitter is by what share of itself a wait is longer or shorter, at random, so that many checkers do not fall into step.
const jitter = 0.1

// Options say what to check and when. Values of 0 mean the defaults.
type Options struct {
	// Check is the active check; its zero value is none. Then, and for targets that it does not suit, there are trials.
	Check Check
	// Interval is the time between the end of a check and the next, 5 s by default; a fifth of it, at least 100 ms, while the state
	// is unknown or about to change.
	Interval time.Duration
	// Timeout is after how long a check has failed, 2 s by default.
	Timeout time.Duration
	// Rise and Fall are how many checks in a row must succeed for a target that is down to be up, 2 by default, and must fail for
	// one that is up to be down, 3 by default.
	Rise, Fall int
	// Trial is the time before the first trial dial of a target that dials alone have marked down, 1 s by default. Each
	// further one waits twice as long, up to 8 times this.
	Trial time.Duration
	// DialOptions is how targets are reached; Timeout bounds trials.
	DialOptions target.Options
	// Logger takes what is not a target's change of state, which the target logs itself; nil discards.
	Logger *slog.Logger
	// Observe is told how each active check of a target ended, and how long it took, up to 100 ms for an orderly end included; nil is
	// nobody. It is called from one goroutine
	// per target and must not block.
	Observe func(t *target.Target, ok bool, took time.Duration)
}

func (o Options) withDefaults() Options {
	orDefault(&o.Interval, defaultInterval)
	orDefault(&o.Timeout, defaultTimeout)
	orDefault(&o.Rise, defaultRise)
	orDefault(&o.Fall, defaultFall)
	orDefault(&o.Trial, defaultTrial)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(*target.Target, bool, time.Duration) {}
	}
	return o
}

func orDefault[T int | time.Duration](value *T, or T) {
	if *value <= 0 {
		*value = or
	}
}

// Checker keeps the state of targets up to date.
type Checker struct {
	targets []*target.Target
	options Options
	check   func(context.Context, target.Address) error
	dial    func(context.Context, target.Address) error // a trial
}

// New returns a checker of targets, which are shared with whoever uses them.
func New(targets []*target.Target, o Options) *Checker {
	o = o.withDefaults()
	return &Checker{
		targets: targets,
		options: o,
		check:   func(ctx context.Context, a target.Address) error { return o.Check.run(ctx, a, o.DialOptions) },
		dial:    func(ctx context.Context, a target.Address) error { return try(ctx, a, o.DialOptions) },
	}
}

// Run checks until ctx ends, in one goroutine per target, and returns when all of them have ended.
func (c *Checker) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, t := range c.targets {
		if c.options.Check.suits(t.Address) {
			running.Go(func() { c.watch(ctx, t) })
		} else { // of a UDP target a trial proves no more than that it has an address and a way to it, but no dial that failed has denied more
			running.Go(func() { c.tryAgain(ctx, t) })
		}
	}
	running.Wait()
}

// watch checks t for as long as ctx lasts.
func (c *Checker) watch(ctx context.Context, t *target.Target) {
	w := watcher{Checker: c, target: t, verdict: verdict{up: true, rise: c.options.Rise, fall: c.options.Fall}}
	first := time.Duration(rand.Float64() * float64(w.fast()))
	for w.wait(ctx, first); ctx.Err() == nil; w.wait(ctx, w.interval()) {
		w.once(ctx)
	}
}

// watcher is the state of one target's active checks.
type watcher struct {
	*Checker
	target  *target.Target
	verdict verdict
	known   bool // a check has ended
	blind   bool // the last check could not be made, by no fault of the target's
}

// once makes one check and tells its result.
func (w *watcher) once(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	start := time.Now()
	err := w.check(limited, w.target.Address)
	switch {
	case ctx.Err() != nil: // it may have failed for that
	case ours(err):
		w.skipped(err)
	default:
		w.blind = false
		w.options.Observe(w.target, err == nil, time.Since(start))
		w.judge(err)
	}
}

func (w *watcher) judge(err error) {
	w.known = true
	w.verdict.add(err == nil)
	if err != nil {
		w.options.Logger.Debug("check failed", "target", w.target.String(), "err", err)
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
		w.options.Logger.Warn("cannot check targets", "target", w.target.String(), "err", err)
	}
	w.blind = true
}

// wait returns after d, sooner if failed dials suggest another look at the target.
func (w *watcher) wait(ctx context.Context, d time.Duration) {
	due := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
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
	d := w.options.Interval
	if !w.known || w.verdict.turning() || w.verdict.up && w.target.Down() {
		d = w.fast()
	}
	return time.Duration((1 + jitter*(2*rand.Float64()-1)) * float64(d))
}

func (w *watcher) fast() time.Duration {
	return min(w.options.Interval, max(minInterval, w.options.Interval/hurry))
}

// verdict is a state that changes after a number of results in a row.
type verdict struct {
	up         bool
	rise, fall int // results against the present state that change it
	against    int // such results in a row
}

func (v *verdict) add(ok bool) {
	if ok == v.up {
		v.against = 0
		return
	}
	needed := v.rise
	if v.up {
		needed = v.fall
	}
	if v.against++; v.against >= needed {
		v.up, v.against = ok, 0
	}
}

// turning says that there are results against the present state.
func (v *verdict) turning() bool { return v.against > 0 }

// ours says that err is a lack of resources on this machine, which says nothing about the target.
func ours(err error) bool {
	var start *startError // elsewhere EAGAIN comes from a Unix socket whose backlog is full
	return target.OwnFault(err) || errors.As(err, &start) && errors.Is(err, syscall.EAGAIN)
}
