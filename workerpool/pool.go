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
package workerpool

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Options say how to deliver. Zero durations and sizes mean the documented default.
type Options struct {
	Targets     []target.Address // at least one
	Connections int              // workers per target; 4

	StallTimeout     time.Duration // without acknowledged progress, until a window moves to a target that confirms; 30 s
	DeadTimeout      time.Duration // of unanswered retransmissions or probes, until a connection has failed; 30 s
	FailbackInterval time.Duration // between a displaced worker's attempts to go home; 5 m
	ResendMargin     int64         // bytes retained behind the acknowledged one at least; 0 is none
	ResendMax        int64         // bytes retained per connection at most; 8 MiB, less where the memory is shared by many
	ResendAge        time.Duration // after which an acknowledged line counts as read, if nothing seems unread; 10 s

	DialOptions target.Options // TLS and Timeout are used; the rest follows from the fields above
	Dial        Dial           // nil: over the network, with DialOptions

	ConfirmSeconds Observer // nil: nobody wants to know
	Logger         *slog.Logger
}

// Observer takes one sample in seconds; a Prometheus histogram is one. It must be safe for concurrent use.
type Observer interface{ Observe(float64) }

type noObserver struct{}

func (noObserver) Observe(float64) {}

// Pool is the workers of all targets. Its methods are safe for concurrent use; Run is called once.
type Pool struct {
	o         Options
	buffers   *linebuf.Pool
	places    []*place
	set       target.Set
	windowMax int64

	taken    counter
	retained struct{ lines, bytes atomic.Int64 }
}

// New returns a pool that gives confirmed buffers back to buffers.
func New(buffers *linebuf.Pool, o Options) *Pool {
	o.setDefaults()
	p := &Pool{o: o, buffers: buffers}
	p.windowMax = windowMax(o, buffers.Limit())
	for _, a := range o.Targets {
		t := target.New(a, o.Logger)
		p.set = append(p.set, t)
		p.places = append(p.places, &place{target: t})
	}
	if p.o.Dial == nil {
		p.o.Dial = dialWith(p.dialOptions())
	}
	return p
}

func (o *Options) setDefaults() {
	setDefault(&o.Connections, 4)
	setDefault(&o.StallTimeout, 30*time.Second)
	setDefault(&o.DeadTimeout, 30*time.Second)
	setDefault(&o.FailbackInterval, 5*time.Minute)
	setDefault(&o.ResendMax, 8<<20)
	setDefault(&o.ResendAge, 10*time.Second)
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

// windowMax shares half of the memory among the workers: windows that filled all of it would leave nothing to read into, and
// nothing would confirm them but time.
func windowMax(o Options, memory int64) int64 {
	return min(o.ResendMax, memory/2/int64(max(1, len(o.Targets)*o.Connections)))
}

func (p *Pool) dialOptions() target.Options {
	d := p.o.DialOptions
	d.DeadTimeout = p.o.DeadTimeout
	d.Margin = p.o.ResendMargin
	d.Retain = p.windowMax
	return d
}

// Run takes buffers from lines, which become its own, and returns when the channel is closed and everything is confirmed, or
// soon after hard has ended. The error says how much was left unconfirmed then.
func (p *Pool) Run(hard context.Context, lines <-chan *linebuf.Buffer) error {
	if p.windowMax < p.o.ResendMax {
		p.o.Logger.Warn("memory is shared by many connections: each retains less than -resend-max", "retained_bytes", p.windowMax, "resend_max", p.o.ResendMax)
	}
	var workers []*worker
	for _, home := range p.places {
		for range p.o.Connections {
			workers = append(workers, newWorker(p, len(workers), home, lines))
		}
	}
	runAll(hard, workers)
	if n := p.retained.lines.Load(); n > 0 {
		return fmt.Errorf("%d lines (%d bytes) were sent or taken to be sent, and not confirmed", n, p.retained.bytes.Load())
	}
	return nil
}

// runAll runs the workers until all have ended. One ticker serves them all: a ticker of its own in each worker's select would enter
// and leave the runtime's timers with every buffer.
func runAll(hard context.Context, workers []*worker) {
	var running, clock sync.WaitGroup
	ended := make(chan struct{})
	clock.Go(func() { tick(workers, ended) })
	for _, w := range workers {
		running.Go(func() { w.run(hard) })
	}
	running.Wait()
	close(ended)
	clock.Wait()
}

// tick tells every worker the time at regular intervals. One that has not taken the last tick yet misses this one.
func tick(workers []*worker, ended <-chan struct{}) {
	ticker := time.NewTicker(target.Tick)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, w := range workers {
				select {
				case w.ticks <- now:
				default:
				}
			}
		case <-ended:
			return
		}
	}
}

// Targets returns the targets with their state, in the order of the configuration. What else learns of that state may tell them.
func (p *Pool) Targets() []*target.Target { return p.set }

// Stats returns the present counts.
func (p *Pool) Stats() Stats {
	s := Stats{
		RetainedLines: p.retained.lines.Load(),
		RetainedBytes: p.retained.bytes.Load(),
		TakenLines:    p.taken.lines.Load(),
		TakenBytes:    p.taken.bytes.Load(),
	}
	for _, place := range p.places {
		s.Targets = append(s.Targets, place.stats())
	}
	return s
}

func (p *Pool) retain(t tally) {
	p.taken.add(t)
	p.retained.lines.Add(int64(t.lines))
	p.retained.bytes.Add(int64(t.bytes))
}

// confirm counts lines that have left a window for good.
func (p *Pool) confirm(at *place, t tally) {
	if t.lines == 0 {
		return
	}
	at.confirmed.add(t)
	p.retained.lines.Add(-int64(t.lines))
	p.retained.bytes.Add(-int64(t.bytes))
}

func (p *Pool) placeOf(t *target.Target) *place {
	for _, place := range p.places {
		if place.target == t {
			return place
		}
	}
	return nil
}
