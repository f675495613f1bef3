// Package workerpool delivers lines: some workers for each target take buffers from one channel
// and keep each until its target has confirmed it. A worker that loses its connection sends
// again, to another target if necessary, what may not have been read.
//
//	chan *linebuf.Buffer ─┬▶ worker ─▶ Machine ─▶ Conn ─▶ target
//	Outlet ───────────────┘
//
// A worker is one goroutine that drives a [delivery.Machine], which holds the rules and all that
// the worker owns: its present connection, those that it is leaving, and their windows. At most one
// goroutine dials for it. A goroutine that has read lines hands them to a worker through an
// [Outlet], which writes them at once where it can, and otherwise sends them on the channel.
//
// Targets can be added and removed while the pool runs. The pool nudges its workers to apply such
// changes; no lock is taken for a buffer.
package workerpool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/acked"
	"linesplit/internal/delivery"
	"linesplit/internal/lane"
	"linesplit/linebuf"
	"linesplit/target"
)

// Options configure a Pool. Zero values mean the documented defaults.
type Options struct {
	Targets     []target.Address // none if they are to be added later
	Connections int              // workers per target on average, see [Shares]; 0 means 4
	Keys                         // which lines are to stay together
	Queue       int              // buffers of 64 KiB that each lane of lines with keys may hold; 0 means 32
	Pools       int              // that share the memory for lines; 0 means 1
	Budget      int64            // of memory, of which windows may fill half; 0 means the part of one pool
	Tuning                       // settings that [Pool.Tune] can change later

	Dial Dial // nil dials over the network, with DialOptions
	// Acknowledged is for connections to targets that acknowledge lines; its Dial is not used.
	Acknowledged acked.Options

	// Keep gets the lines that are not confirmed when hard ends. It owns the buffer, with B and
	// Lines cut down to the unconfirmed lines; the buffer still holds their receipts, if any. The
	// lines of each connection come in the order in which they were written, and before those that
	// wait. Several workers may call Keep at a time. With nil, such lines stay counted as retained,
	// or as queued.
	Keep func(b *linebuf.Buffer)

	ConfirmSeconds delivery.Observer // time from reading a line to its confirmation; nil discards
	Logger         *slog.Logger
}

type noObserver struct{}

func (noObserver) Observe(float64) {}

// Pool runs the workers of all targets. Its methods are safe for concurrent use; Run may be
// called once.
type Pool struct {
	o        Options // Tuning is guarded by mu; workers read settings
	buffers  *linebuf.Pool
	shared   *delivery.Shared
	settings atomic.Pointer[settings]  // replaced under mu
	ended    atomic.Bool               // all lines are taken, or Run was told to stop
	running  atomic.Pointer[[]*worker] // all workers; replaced under mu
	offered  atomic.Pointer[[]*worker] // those for outlets; replaced under mu
	outlets  atomic.Uint32             // made so far
	clock    clock
	parts    atomic.Int32                   // that outlets may cut before the next tick; see spread
	routes   *lane.Routes                   // of the workers' lanes; nil: lines have no keys
	staffed  chan struct{}                  // closed when the first worker starts
	endInput chan struct{}                  // see EndInput
	handed   chan struct{}                  // closed when awaitEnd has handed over the last line; nil: lines have no keys
	unhanded atomic.Pointer[linebuf.Buffer] // what awaitEnd had no room for when hard ended, or nil

	mu       sync.Mutex // guards the fields below; never held while anything blocks
	backends []*backend // replaced as a whole
	lines    <-chan *linebuf.Buffer
	launch   func(*worker)     // starts a worker; nil until Run runs
	workers  []*worker         // running and not dismissed
	resting  bool              // backups rest, as of the last tick
	nextID   int               // of the next worker; never reused
	removed  delivery.Counters // of targets that were removed

	assignLater bool // several targets are being changed together: keys move once, afterwards
}

// New returns a pool that gives confirmed buffers back to buffers.
func New(buffers *linebuf.Pool, o Options) *Pool {
	o.setDefaults()
	p := &Pool{o: o, buffers: buffers, removed: noCounters(), clock: newClock(),
		staffed: make(chan struct{}), endInput: make(chan struct{}),
		shared: delivery.NewShared(buffers, o.ConfirmSeconds, o.Logger, nil)}
	p.shared.SetKeep(o.Keep)
	if o.Rule != nil {
		p.routes, p.handed = lane.New(buffers, minLane), make(chan struct{})
	}
	var backends []*backend
	for _, a := range o.Targets {
		backends = append(backends, p.newBackend(a))
	}
	p.setBackendsLocked(backends) // p is not shared yet
	p.setSharesLocked()
	p.publishWorkersLocked()
	p.parts.Store(maxParts)
	return p
}

func (p *Pool) newBackend(a target.Address) *backend {
	return &backend{Backend: delivery.NewBackend(a, p.o.Logger), address: a}
}

func (o *Options) setDefaults() {
	setDefault(&o.Connections, 4)
	setDefault(&o.Queue, 32)
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

// Run takes buffers from lines and owns them from then on. It returns when the channel is closed
// and everything is confirmed, or soon after hard has ended. Then Options.Keep has got the rest;
// without it, the error tells how much was left unconfirmed.
func (p *Pool) Run(hard context.Context, lines <-chan *linebuf.Buffer) error {
	var running, clock sync.WaitGroup
	p.startAll(lines, func(w *worker) {
		running.Go(func() {
			w.run(hard)
			p.workerEnded(w)
		})
	})
	running.Go(func() { p.awaitWorkers(hard) })
	over := make(chan struct{})
	clock.Go(func() { p.runClock(over) })
	if p.routes != nil {
		clock.Go(func() { defer close(p.handed); p.awaitEnd(hard, lines) })
	}
	running.Wait() // Add starts workers only while others run that have not seen the end of lines
	p.ended.Store(true)
	close(over)
	clock.Wait()
	p.KeepRest()
	p.flushLogs()
	if left := p.shared.Retained(); left.Lines > 0 {
		return fmt.Errorf("%d lines (%d bytes) were taken and not confirmed", left.Lines, left.Bytes)
	}
	return nil
}

// EndInput tells a pool that has no target yet that its channel is closed: no worker is there to
// find out. It is called at most once, after the channel has been closed.
func (p *Pool) EndInput() { close(p.endInput) }

// awaitWorkers returns when there are workers, or when none are needed any more. Once there are, a
// target is always left that has some.
func (p *Pool) awaitWorkers(hard context.Context) {
	select {
	case <-p.staffed:
		return
	case <-hard.Done():
	case <-p.endInput:
		if len(p.lines) == 0 && p.handed == nil {
			break
		}
		select {
		case <-p.staffed:
			return
		case <-p.handed: // there were none
		case <-hard.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) == 0 {
		p.ended.Store(true)
	}
}

// startAll starts the workers of all targets.
func (p *Pool) startAll(lines <-chan *linebuf.Buffer, launch func(*worker)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines, p.launch = lines, launch
	p.warnOfSharedMemoryLocked()
	p.startWorkersLocked(p.backends...)
	p.assignLocked()
}

// startWorkersLocked starts the workers that backends lack, if lines may still come.
func (p *Pool) startWorkersLocked(homes ...*backend) {
	if p.launch == nil || p.ended.Load() {
		return
	}
	first, none := len(p.workers), p.nextID == 0
	for _, home := range homes {
		for !home.removing && home.workers < home.wantWorkers {
			p.workers = append(p.workers, newWorker(p, p.nextID, home, p.lines))
			p.nextID++
			home.workers++
		}
	}
	started := slices.Clone(p.workers[first:])
	if len(started) == 0 {
		return
	}
	p.publishWorkersLocked()
	for _, w := range started {
		p.launch(w)
	}
	if none {
		close(p.staffed) // only now that they have been launched: Run waits for them from here on
	}
}

// tryDismiss removes a paused worker that has nothing left, if its home is being removed or has too
// many workers, and reports whether the worker is to end.
func (p *Pool) tryDismiss(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.leaves.Load() || w.lane != nil && !p.routes.Forget(w.lane) {
		return false
	}
	p.removeWorkerLocked(w)
	return true
}

// workerEnded removes a worker that has ended. If it was not dismissed, it has seen the end of
// all lines, or hard has ended.
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
	p.publishWorkersLocked()
	w.home.workers--
	return true
}

// nudgeLocked makes every worker check its state and its connections.
func (p *Pool) nudgeLocked(now time.Time) {
	for _, w := range p.workers {
		w.nudge(now)
	}
}

// Targets returns the targets that are not being removed, in the order of the configuration,
// added ones last. Callers may report results of checks to them.
func (p *Pool) Targets() (all []*target.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		if !b.removing {
			all = append(all, b.Target)
		}
	}
	return all
}

// Stats returns the present counts.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Retained: p.shared.Retained(), Taken: p.shared.Taken(), Kept: p.shared.Kept(),
		Reframed: p.shared.Reframed()}
	for _, b := range p.backends {
		t := b.statsLocked()
		t.Lanes = p.laneStatsLocked(b)
		s.Targets = append(s.Targets, t)
	}
	s.Keys = p.keyStats()
	s.Removed.Counters = p.removed
	s.Removed.Resent = slices.Clone(p.removed.Resent)
	return s
}

// flushLogs logs what the log has held back to report it in sum.
func (p *Pool) flushLogs() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		b.FlushLog()
	}
	p.shared.FlushLog()
}
