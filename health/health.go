// Package health finds out which targets are up: with active checks, or where there are none, with trial connections to those that
// failed dials have marked down.
package health

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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

// settings are Options, defaults filled in. They are replaced as a whole.
type settings struct {
	Options
	replaced chan struct{} // closed when they no longer hold
}

// Checker keeps the state of targets up to date. Its methods are safe for concurrent use; Run is called once.
type Checker struct {
	settings atomic.Pointer[settings]
	check    func(context.Context, target.Address) error
	dial     func(context.Context, target.Address) error // a trial

	mu       sync.Mutex // guards what follows
	watchers map[*target.Target]*watcher
	running  context.Context // Run's; nil while it does not run
	all      sync.WaitGroup  // of watchers; grows under mu and while running is not nil
}

// New returns a checker of targets, which are shared with whoever uses them.
func New(targets []*target.Target, o Options) *Checker {
	c := &Checker{watchers: make(map[*target.Target]*watcher)}
	c.settings.Store(newSettings(o))
	c.check = func(ctx context.Context, a target.Address) error {
		s := c.settings.Load()
		return s.Check.run(ctx, a, s.DialOptions)
	}
	c.dial = func(ctx context.Context, a target.Address) error { return try(ctx, a, c.settings.Load().DialOptions) }
	c.Watch(targets)
	return c
}

func newSettings(o Options) *settings {
	return &settings{Options: o.withDefaults(), replaced: make(chan struct{})}
}

// Run checks until ctx ends, in one goroutine per target, and returns when all of them have ended.
func (c *Checker) Run(ctx context.Context) {
	c.mu.Lock()
	c.running = ctx
	for _, w := range c.watchers {
		c.startLocked(w)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.running = nil
	c.mu.Unlock()
	c.all.Wait()
}

// Watch replaces the list of targets that are checked. Checks of targets that are no longer in it are
// cancelled, all at once, and change nothing about those targets. Watch returns when they have ended.
func (c *Checker) Watch(targets []*target.Target) {
	for _, w := range c.replace(targets) {
		<-w.ended
	}
}

// replace starts watchers for new targets, stops those of targets that have left, and returns the
// stopped ones, which may still be ending.
func (c *Checker) replace(targets []*target.Target) (stopped []*watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range targets {
		if c.watchers[t] != nil {
			continue
		}
		w := &watcher{Checker: c, target: t, verdict: verdict{up: !t.Unhealthy()}}
		c.watchers[t] = w
		if c.running != nil {
			c.startLocked(w)
		}
	}
	for t, w := range c.watchers {
		if slices.Contains(targets, t) {
			continue
		}
		delete(c.watchers, t)
		if w.ended != nil {
			w.stop()
			stopped = append(stopped, w)
		}
	}
	return stopped
}

func (c *Checker) startLocked(w *watcher) {
	var ctx context.Context
	ctx, w.stop = context.WithCancel(c.running)
	w.ended = make(chan struct{})
	c.all.Go(func() {
		defer close(w.ended)
		defer w.stop()
		w.run(ctx)
	})
}

// Reconfigure replaces all options. What is known of targets stays: one that is down is up after Rise good checks, and one that is up
// is down after Fall bad ones, whichever Check has made them. The next check comes when it is due by the new Interval; one that is being
// made ends as it began. A target that is not checked any more is no longer down because of checks: from then on dials tell.
func (c *Checker) Reconfigure(o Options) {
	close(c.settings.Swap(newSettings(o)).replaced)
}

// watcher looks after one target. Its goroutine alone touches it, but for the fields that say otherwise.
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

// forget takes back what checks have said: nobody else would.
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

// wait returns true after d, sooner if failed dials suggest another look at the target; and false if there is to be no look.
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
	return target.IsLocalError(err) || errors.As(err, &start) && errors.Is(err, syscall.EAGAIN)
}
