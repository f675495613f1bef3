package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/internal/loglimit"
)

const (
	// lookupTimeout is the longest time for one lookup.
	lookupTimeout = 15 * time.Second
	// The driver asks a source again firstRetry after a failure, and doubles the time after further
	// failures, up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
	// watchInterval is the time between two calls of watcher.changed.
	watchInterval = time.Second
	// maxJitter is the largest random delay, which keeps many processes from asking one server in
	// step. It is short, so that new addresses are found soon after the old answer has expired.
	maxJitter = time.Second
)

// Options are the settings of a Driver.
type Options struct {
	Resolver string // as ParseResolver returns it; empty for the system's servers
	// Report takes each answer of a source, and the time until the next lookup. It returns an error
	// if something is wrong with the answer. Sources call it concurrently; one source, one call at
	// a time.
	Report func(source string, a Answer, next time.Duration) error
	Logger *slog.Logger // must not be nil
}

// Driver asks sources, each in a goroutine of its own, and reports what they answer. Its methods
// are safe for concurrent use.
//
//	Run ─┬─▶ one goroutine per source: lookup ─▶ Report ─▶ wait
//	     └─▶ …
type Driver struct {
	o    Options
	open func(Spec, Options) source

	mu      sync.Mutex      // guards the fields below
	ctx     context.Context // of Run; nil before Run
	asking  sync.WaitGroup  // the goroutines of the sources
	sources []*asked        // in the order of the configuration
}

// asked is a source and its state. Driver.mu guards the fields, except spec.
type asked struct {
	spec    Spec
	stop    context.CancelFunc // ends the goroutine; nil until it runs
	state   Status
	changes loglimit.Limiter // of log lines about changes of Failing
}

// Status is the state of a source.
type Status struct {
	Source      string    // name, as Spec.String returns it
	Answers     uint64    // number of answers, also of incomplete ones
	Failures    uint64    // number of failed lookups, and of answers that were empty or incomplete
	LastAnswer  time.Time // zero: the source has not answered yet
	LastError   string    // of a lookup or an answer; kept after later answers
	LastErrorAt time.Time
	Failing     bool // the last lookup failed, or its answer was empty or incomplete
}

// changesBurst is the number of changes of Failing that are logged without a delay.
const changesBurst = 4

// NewDriver returns a driver without sources; Set adds them.
func NewDriver(o Options) *Driver { return &Driver{o: o, open: Spec.open} }

// Run asks the sources until ctx ends, and returns when all goroutines of the driver have ended. It
// must be called only once.
func (d *Driver) Run(ctx context.Context) {
	d.mu.Lock()
	d.ctx = ctx
	for _, s := range d.sources {
		d.startLocked(s)
	}
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.stopLocked(d.sources)
	for _, s := range d.sources {
		s.changes.Flush()
	}
	d.sources = nil
	d.mu.Unlock()
	d.asking.Wait()
}

// Set replaces the list of sources and the resolver. It does not disturb sources that stay in the
// list, unless the resolver has changed. Callers may call it before Run.
func (d *Driver) Set(specs []Spec, resolver string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := d.o.Resolver != resolver
	d.o.Resolver = resolver
	var next []*asked
	for _, spec := range specs {
		i := slices.IndexFunc(d.sources, func(s *asked) bool { return s.spec == spec })
		if i >= 0 && !changed {
			next = append(next, d.sources[i])
			d.sources = slices.Delete(d.sources, i, i+1)
			continue
		}
		s := &asked{spec: spec, changes: loglimit.Limiter{Burst: changesBurst}, state: Status{Source: spec.String()}}
		if i >= 0 {
			s.state = d.sources[i].state
		}
		next = append(next, s)
	}
	d.stopLocked(d.sources)
	d.sources = next
	for _, s := range next {
		if s.stop == nil && d.ctx != nil {
			d.startLocked(s)
		}
	}
}

// startLocked starts the goroutine of a source.
func (d *Driver) startLocked(s *asked) {
	if d.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(d.ctx)
	s.stop = stop
	src := d.open(s.spec, d.o)
	d.asking.Go(func() { d.ask(ctx, s, src) })
}

// stopLocked tells the goroutines of sources to end.
func (d *Driver) stopLocked(sources []*asked) {
	for _, s := range sources {
		if s.stop != nil {
			s.stop()
		}
	}
}

// Status returns the state of all sources, in the order of the configuration.
func (d *Driver) Status() (all []Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sources {
		all = append(all, s.state)
	}
	return all
}

// ask asks a source again and again until ctx ends.
func (d *Driver) ask(ctx context.Context, s *asked, src source) {
	retries := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstRetry),
		backoff.WithMaxInterval(lastRetry), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		next, err := d.once(ctx, s.spec, src)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			retries.Reset()
		} else if errors.Is(err, errFailed) || errors.Is(err, errEmpty) {
			next = retries.NextBackOff()
		}
		d.note(s, err)
		await(ctx, src, next)
	}
}

// errFailed matches the error of a lookup without an answer.
var errFailed = errors.New("the lookup failed")

// failure is an error that matches errFailed and has the text of its cause.
type failure struct{ error }

func (f failure) Is(other error) bool { return other == errFailed }
func (f failure) Unwrap() error       { return f.error }

// once asks a source, reports the answer, and returns the time until the next lookup.
func (d *Driver) once(ctx context.Context, spec Spec, src source) (next time.Duration, err error) {
	within, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	a, err := src.lookup(within)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, failure{err}
	}
	next = spec.interval(a)
	next += rand.N(min(next/10, maxJitter) + 1)
	return next, errors.Join(d.o.Report(spec.String(), a, next), a.Missing)
}

// note counts an answer or a failure, and logs when a source begins to fail and when it answers
// again.
func (d *Driver) note(s *asked, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, st := time.Now(), &s.state
	was := st.Failing
	st.Failing = err != nil
	if err == nil || !errors.Is(err, errFailed) && !errors.Is(err, errEmpty) {
		st.Answers++
		st.LastAnswer = now
	}
	if err == nil {
		if was {
			s.changes.Log(d.o.Logger, slog.LevelInfo, "source answers again", slog.String("source", st.Source))
		}
		return
	}
	st.Failures++
	st.LastError, st.LastErrorAt = errorText(err), now
	if !was {
		s.changes.Log(d.o.Logger, slog.LevelWarn, "source failed, its targets stay",
			slog.String("source", st.Source), slog.String("err", st.LastError))
	}
}

// await waits for d, or until a watcher has noticed a change.
func await(ctx context.Context, src source, d time.Duration) {
	w, watches := src.(watcher)
	if !watches {
		pause(ctx, d)
		return
	}
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 || !pause(ctx, min(left, watchInterval)) || w.changed() {
			return
		}
	}
}

// pause waits for d. It returns false if ctx ends before that.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
