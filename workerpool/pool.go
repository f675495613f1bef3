// Package workerpool delivers lines: workers, some for each target, take buffers from one channel and see each of them
// through to its confirmation. A worker that loses its connection sends again, elsewhere if need be, what may not have been
// read.
//
//	chan *linebuf.Buffer ─▶ worker ─▶ flight ─▶ Conn ─▶ target
//	                          ▲         │ window: written, not confirmed
//	                          └─────────┘ again: what a failed flight leaves
//
// A worker is one goroutine and owns all it uses: its present flight, those that it is leaving, and their windows. Beside it
// runs at most one goroutine that dials.
//
// Targets come and go while the pool runs. Its workers look at what was decided on each tick, and on a nudge between ticks; no
// lock stands in the way of a buffer.
package workerpool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Options say how to deliver. Zeros mean the documented default.
type Options struct {
	Targets     []target.Address // at least one
	Connections int              // workers per target; 4
	Tuning                       // what may change while Run runs

	Dial Dial // nil: over the network, with DialOptions

	ConfirmSeconds Observer // nil: nobody wants to know
	Logger         *slog.Logger
}

// Observer takes one sample in seconds; a Prometheus histogram is one. It must be safe for concurrent use.
type Observer interface{ Observe(float64) }

type noObserver struct{}

func (noObserver) Observe(float64) {}

// Pool is the workers of all targets. Its methods are safe for concurrent use; Run is called once.
type Pool struct {
	o        Options // its Tuning changes under mu; workers go by settings
	buffers  *linebuf.Pool
	backends atomic.Pointer[backendList] // replaced under mu
	settings atomic.Pointer[settings]    // replaced under mu

	taken    linebuf.AtomicCount
	retained linebuf.AtomicCount
	ended    atomic.Bool // all lines are taken, or Run was told to stop

	mu      sync.Mutex // guards what follows; held for no longer than it takes to read or change it
	lines   <-chan *linebuf.Buffer
	launch  func(*worker) // starts a worker; nil until Run runs
	workers []*worker     // those that run and were not dismissed
	nextID  int           // ever
	removed TargetStats   // what targets that were removed had counted
}

// New returns a pool that gives confirmed buffers back to buffers.
func New(buffers *linebuf.Pool, o Options) *Pool {
	o.setDefaults()
	p := &Pool{o: o, buffers: buffers, removed: noStats()}
	var backends []*backend
	for _, a := range o.Targets {
		backends = append(backends, p.newBackend(a))
	}
	p.setBackendsLocked(backends) // nobody else knows of p yet
	return p
}

func (p *Pool) newBackend(a target.Address) *backend {
	b := &backend{target: target.New(a, p.o.Logger), wantWorkers: p.o.Connections}
	b.logLimiter.Burst, b.logLimiter.Period = logBurst, logPeriod
	b.accepting.Store(true)
	return b
}

func (o *Options) setDefaults() {
	setDefault(&o.Connections, 4)
	if o.ConfirmSeconds == nil {
		o.ConfirmSeconds = noObserver{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Run takes buffers from lines, which become its own, and returns when the channel is closed and everything is confirmed, or
// soon after hard has ended. The error says how much was left unconfirmed then.
func (p *Pool) Run(hard context.Context, lines <-chan *linebuf.Buffer) error {
	var running, clock sync.WaitGroup
	p.startAll(lines, func(w *worker) {
		running.Go(func() {
			w.run(hard)
			p.workerEnded(w)
		})
	})
	over := make(chan struct{})
	clock.Go(func() { p.tick(over) })
	running.Wait() // Add starts workers only while there are others that have not seen the end
	p.ended.Store(true)
	close(over)
	clock.Wait()
	if left := p.retained.Load(); left.Lines > 0 {
		return fmt.Errorf("%d lines (%d bytes) were sent or taken to be sent, and not confirmed", left.Lines, left.Bytes)
	}
	return nil
}

// begin starts the workers of all targets there are.
func (p *Pool) startAll(lines <-chan *linebuf.Buffer, launch func(*worker)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines, p.launch = lines, launch
	p.warnOfSharedMemoryLocked()
	for _, b := range p.backends.Load().all {
		p.startWorkersLocked(b)
	}
}

// staffLocked starts, while Run has lines to come, the workers that a place lacks.
func (p *Pool) startWorkersLocked(home *backend) {
	for p.launch != nil && !p.ended.Load() && home.workers < home.wantWorkers {
		w := newWorker(p, p.nextID, home, p.lines)
		p.nextID++
		home.workers++
		p.workers = append(p.workers, w)
		p.launch(w)
	}
}

// dismiss says that a worker that rests and has nothing left is to end, since its home is to be removed.
func (p *Pool) tryDismiss(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.home.removing {
		return false
	}
	p.removeWorkerLocked(w)
	return true
}

// discharge sees a worker off that has ended. One that was not dismissed has seen the end of all.
func (p *Pool) workerEnded(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removeWorkerLocked(w) {
		p.ended.Store(true)
	}
	p.updateDrainedLocked(time.Now())
}

func (p *Pool) removeWorkerLocked(w *worker) bool {
	i := slices.Index(p.workers, w)
	if i < 0 {
		return false
	}
	p.workers = slices.Delete(p.workers, i, i+1)
	w.home.workers--
	return true
}

// tick tells every worker the time at regular intervals. One ticker serves them all: a ticker of its own in each worker's select
// would enter and leave the runtime's timers with every buffer.
func (p *Pool) tick(over <-chan struct{}) {
	ticker := time.NewTicker(target.Tick)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			p.mu.Lock()
			p.nudgeLocked(now)
			p.updateDrainedLocked(now)
			p.mu.Unlock()
		case <-over:
			return
		}
	}
}

// nudgeLocked lets every worker look around. One that has not taken the last tick yet misses this one.
func (p *Pool) nudgeLocked(now time.Time) {
	for _, w := range p.workers {
		select {
		case w.ticks <- now:
		default:
		}
	}
}

// Targets returns the targets that are there to stay with their state, in the order of the configuration, added ones behind. What
// else learns of that state may tell them.
func (p *Pool) Targets() (all []*target.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends.Load().all {
		if !b.removing {
			all = append(all, b.target)
		}
	}
	return all
}

// Stats returns the present counts.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Retained: p.retained.Load(), Taken: p.taken.Load()}
	for _, b := range p.backends.Load().all {
		s.Targets = append(s.Targets, b.stats())
	}
	s.Removed = p.removed
	s.Removed.Resent = slices.Clone(p.removed.Resent)
	return s
}

func (p *Pool) countTaken(n linebuf.Count) {
	p.taken.Add(n)
	p.retained.Add(n)
}

// confirm counts lines that have left a window for good.
func (p *Pool) countConfirmed(at *backend, n linebuf.Count) {
	if n.Lines == 0 {
		return
	}
	at.confirmed.Add(n)
	p.retained.Sub(n)
}
