// Package health finds out which targets are up, and tells each [target.Target]. It makes active
// checks; where no check is configured, it redials in the background the targets that failed dials
// have marked down.
//
// To add a kind of check, see [Kind] and [NewCheck].
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
	defaultInterval    = 5 * time.Second
	defaultTimeout     = 2 * time.Second
	defaultRise        = 2
	defaultFall        = 3
	defaultRedialDelay = time.Second
)

// Options are what to check and when. Values of 0 mean the defaults.
type Options struct {
	// Check is the active check; its zero value is none. Targets without a check that applies to
	// them are redialled when failed dials have marked them down.
	Check Check
	// Interval is the time between the end of a check and the start of the next, 5 s by default.
	// It, Rise and Fall are for targets whose Address has none of their own. While the state is
	// unknown or about to change it is a fifth of that, but at least 100 ms.
	Interval time.Duration
	// Timeout limits one check, 2 s by default.
	Timeout time.Duration
	// Rise is how many checks in a row must succeed to mark a target up that is down, 2 by default;
	// Fall is how many must fail to mark one down that is up, 3 by default.
	Rise, Fall int
	// RedialDelay is the wait before the first background dial of a target that failed dials alone
	// have marked down, 1 s by default. The wait doubles with each dial, up to 8 times RedialDelay.
	RedialDelay time.Duration
	// DialOptions configure dialling; Timeout also limits background dials.
	DialOptions target.Options
	// Logger logs all but changes of state, which the targets log themselves; nil discards.
	Logger *slog.Logger
	// Observe, if not nil, receives the result of each active check of a target and how long it
	// took, including up to 100 ms for an orderly end. It is called from one goroutine per target
	// and must not block.
	Observe func(t *target.Target, ok bool, took time.Duration)
}

func (o Options) withDefaults() Options {
	orDefault(&o.Interval, defaultInterval)
	orDefault(&o.Timeout, defaultTimeout)
	orDefault(&o.Rise, defaultRise)
	orDefault(&o.Fall, defaultFall)
	orDefault(&o.RedialDelay, defaultRedialDelay)
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

// settings are Options with defaults filled in. They are replaced as a whole.
type settings struct {
	Options
	replaced chan struct{} // closed when they are replaced
}

// Checker keeps the state of targets up to date. Its methods are safe for concurrent use; Run may
// be called once.
type Checker struct {
	settings atomic.Pointer[settings]
	check    func(context.Context, target.Address) error
	dial     func(context.Context, target.Address) error // dials in the background

	mu       sync.Mutex // guards the fields below
	watchers map[*target.Target]*watcher
	running  context.Context // of Run; nil while it does not run
	all      sync.WaitGroup  // of running watchers; grows under mu while running is not nil
}

// New returns a checker of targets, which other users may share.
func New(targets []*target.Target, o Options) *Checker {
	c := &Checker{watchers: make(map[*target.Target]*watcher)}
	c.settings.Store(newSettings(o))
	c.check = func(ctx context.Context, a target.Address) error {
		s := c.settings.Load()
		return s.Check.run(ctx, a, s.DialOptions)
	}
	c.dial = func(ctx context.Context, a target.Address) error {
		return dialOnce(ctx, a, c.settings.Load().DialOptions)
	}
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

// Watch replaces the list of targets that are checked. It cancels the checks of targets that are no
// longer in it, all at once, and the result of such a check has no effect; the targets keep their
// state. Watch returns when those checks have ended.
func (c *Checker) Watch(targets []*target.Target) {
	for _, w := range c.replace(targets) {
		<-w.ended
	}
}

// replace starts watchers for new targets and stops those of removed ones. It returns the stopped
// watchers, which may still be ending.
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

// Reconfigure replaces all options. The targets keep their state: one that is down is up after Rise
// good checks, and one that is up is down after Fall failed ones, whichever Check made them. The
// next check comes when it is due by the new Interval; a running check ends as it began. If no
// check applies to a target any more, earlier checks no longer mark it down: from then on dials
// decide.
func (c *Checker) Reconfigure(o Options) {
	close(c.settings.Swap(newSettings(o)).replaced)
}
