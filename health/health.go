// Package health finds out which targets are up: with active checks, or where there are none,
// with trial connections to those that failed dials have marked down.
package health

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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

// Options say what to check and when. Values of 0 mean the defaults.
type Options struct {
	// Check is the active check; its zero value is none. Then, and for targets that it does not
	// suit, there are trials.
	Check Check
	// Interval is the time between the end of a check and the next, 5 s by default; a fifth of
	// it, at least 100 ms, while the state is unknown or about to change.
	Interval time.Duration
	// Timeout is after how long a check has failed, 2 s by default.
	Timeout time.Duration
	// Rise and Fall are how many checks in a row must succeed for a target that is down to be up,
	// 2 by default, and must fail for one that is up to be down, 3 by default.
	Rise, Fall int
	// Trial is the time before the first trial dial of a target that dials alone have marked
	// down, 1 s by default. Each further one waits twice as long, up to 8 times this.
	Trial time.Duration
	// DialOptions is how targets are reached; Timeout bounds trials.
	DialOptions target.Options
	// Logger takes what is not a target's change of state, which the target logs itself; nil
	// discards.
	Logger *slog.Logger
	// Observe is told how each active check of a target ended, and how long it took, up to 100 ms
	// for an orderly end included; nil is nobody. It is called from one goroutine per target and
	// must not block.
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

// Checker keeps the state of targets up to date. Its methods are safe for concurrent use; Run is
// called once.
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

// Watch replaces the list of targets that are checked. Checks of targets that are no longer in it
// are cancelled, all at once, and change nothing about those targets. Watch returns when they
// have ended.
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

// Reconfigure replaces all options. What is known of targets stays: one that is down is up after
// Rise good checks, and one that is up is down after Fall bad ones, whichever Check has made
// them. The next check comes when it is due by the new Interval; one that is being made ends as
// it began. A target that is not checked any more is no longer down because of checks: from then
// on dials tell.
func (c *Checker) Reconfigure(o Options) {
	close(c.settings.Swap(newSettings(o)).replaced)
}
