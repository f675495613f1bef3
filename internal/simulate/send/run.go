package send

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/simulate/latency"
)

// ErrUnreachable is what Run's error wraps where an address could not be reached at the start. Nothing was sent then.
var ErrUnreachable = errors.New("not reachable")

const (
	reportInterval = 100 * time.Millisecond
	failurePause   = 100 * time.Millisecond // before the place of a client that failed is taken by another one
)

// Run starts clients and returns when all of them have ended: when they have sent all they had to, after o.Duration, or in order when ctx
// ends. progress, if not nil, is called about ten times a second, or as o.Interval says, and at the end, by the goroutine that called Run.
//
// The error says that the options make no sense, that an address is not reachable (ErrUnreachable), or that o.Input could not be read; what
// was sent before is in the summary. Clients that fail are no error: see Summary.Failed.
func Run(ctx context.Context, o Options, progress func(Progress)) (Summary, error) {
	if err := o.Check(); err != nil {
		return Summary{}, err
	}
	r := newRun(o.withDefaults())
	defer r.closeSpare()
	if err := r.reach(ctx); err != nil {
		return Summary{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.o.Duration > 0 { // no deadline: dials would see it come before ctx ends, and take it for a failure
		defer time.AfterFunc(r.o.Duration, cancel).Stop()
	}
	if o.Input != nil {
		r.input = startSource(ctx, o.Input, o.Repeat)
	}
	r.started = time.Now()

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.serve(ctx)
	}()
	r.report(ended, progress)
	return r.summary(), r.inputFailure()
}

// run is one run:
//
//	Run ── serve ─┬─ client ─── its link's watcher
//	              ├─ client ...
//	              └─ (a source's reader, if lines come from one)
type run struct {
	o       Options
	started time.Time
	input   *source      // nil: lines are made up
	spare   []chan *link // by address: the connection that proved it reachable, until a client takes it

	lines, bytes, doubt atomic.Uint64
	open                atomic.Int64

	// Of the goroutine in serve, until it has ended.
	picker  *picker
	turns   map[Kind]int // clients of a kind so far, which is whose turn among the addresses it is
	senders []*sender
	free    chan *sender // those without a client

	mu       sync.Mutex // guards the fields below
	clients  map[Kind]*ClientCount
	ended    uint64             // clients
	failed   uint64             // of these
	lost     uint64             // connections that were made good, or are being
	requests *latency.Histogram // nil: no acknowledgement yet
}

func newRun(o Options) *run {
	r := &run{o: o, picker: newPicker(o.Mix), turns: map[Kind]int{}, free: make(chan *sender, o.Connections), clients: map[Kind]*ClientCount{}}
	r.o.To = slices.Clone(o.To)
	for i, d := range r.o.To {
		r.o.To[i] = d.withServerName()
		r.spare = append(r.spare, make(chan *link, 1))
	}
	for _, s := range o.Mix {
		r.clients[s.Kind] = &ClientCount{Reasons: map[string]uint64{}, Lost: map[string]uint64{}}
	}
	return r
}

// reach connects to every address once.
func (r *run) reach(ctx context.Context) error {
	errs := make([]error, len(r.o.To))
	var dials sync.WaitGroup
	for i, d := range r.o.To {
		dials.Go(func() {
			l, err := connect(ctx, d, r.o.DialTimeout)
			if err != nil {
				errs[i] = fmt.Errorf("%w: %w", ErrUnreachable, err)
				return
			}
			r.spare[i] <- l
		})
	}
	dials.Wait()
	return errors.Join(errs...)
}

// connect returns a connection to one of the addresses.
func (r *run) connect(ctx context.Context, to int) (*link, error) {
	select {
	case l := <-r.spare[to]:
		return l, nil
	default:
		return connect(ctx, r.o.To[to], r.o.DialTimeout)
	}
}

func (r *run) closeSpare() {
	for _, spare := range r.spare {
		select {
		case l := <-spare:
			l.Close()
		default:
		}
	}
}

// serve starts clients, and returns when they have ended. Idle ones stay until there is nobody else, nor will be.
func (r *run) serve(ctx context.Context) {
	hold, release := context.WithCancel(ctx)
	defer release()
	var busy, idle sync.WaitGroup
	arrivals := newPace(r.o.ClientsPerSecond, time.Now())
	for n := 0; r.o.Clients == 0 || n < r.o.Clients; n++ {
		s := r.place(ctx, &arrivals)
		if s == nil {
			break
		}
		switch c := r.client(s); c.kind {
		case Idle:
			idle.Go(func() { r.host(hold, c) })
		default:
			busy.Go(func() { r.host(ctx, c) })
		}
	}
	busy.Wait()
	if !r.o.Mix.onlyIdle() {
		release()
	}
	idle.Wait()
}

// place waits until another client may come, and returns the sender that is to be its; nil when none may any more.
func (r *run) place(ctx context.Context, arrivals *pace) *sender {
	for {
		n, wait := arrivals.due(time.Now())
		if n > 0 {
			break
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
	arrivals.done(1)
	s := r.freeSender(ctx)
	if ctx.Err() != nil || r.input != nil && r.input.ended.Load() {
		return nil
	}
	return s
}

func (r *run) freeSender(ctx context.Context) *sender {
	select {
	case s := <-r.free:
		return s
	default:
	}
	if len(r.senders) < r.o.Connections {
		s := newSender(r.o.FirstSender+uint32(len(r.senders)), r.o.Length, r.input)
		r.senders = append(r.senders, s)
		return s
	}
	select {
	case s := <-r.free:
		return s
	case <-ctx.Done():
		return nil
	}
}

func (r *run) client(s *sender) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind := r.picker.next(func(k Kind) bool { return r.clients[k].open() < r.o.most(k) })
	to := r.turns[kind] % len(r.o.To)
	r.turns[kind]++
	r.clients[kind].Started++
	return newClient(r, kind, to, s)
}

// host lets a client live and accounts for its end.
func (r *run) host(ctx context.Context, c *client) {
	err := c.live(ctx)
	r.countEnd(c.kind, err)
	if err != nil {
		sleep(ctx, failurePause)
	}
	r.free <- c.s
}

func (r *run) countEnd(kind Kind, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.clients[kind]
	r.ended++
	if err == nil {
		count.Succeeded++
		return
	}
	r.failed++
	count.Failed++
	count.Reasons[reason(err)]++
}

func (r *run) countLost(kind Kind, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
	r.clients[kind].Lost[reason(err)]++
}

// maxLatency is the longest latency that is told from longer ones.
const maxLatency = time.Hour

func (r *run) countAnswer(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.requests == nil {
		r.requests = latency.New(time.Nanosecond, maxLatency)
	}
	r.requests.Record(took)
}

// report calls progress until ended is closed, and once behind that.
func (r *run) report(ended <-chan struct{}, progress func(Progress)) {
	if progress == nil {
		<-ended
		return
	}
	tick := time.NewTicker(r.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			progress(r.progress())
		case <-ended:
			progress(r.progress())
			return
		}
	}
}

func (r *run) progress() Progress {
	p := Progress{Elapsed: time.Since(r.started), Lines: r.lines.Load(), Bytes: r.bytes.Load(), Open: int(r.open.Load())}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		p.Started += c.Started
	}
	p.Failed, p.Lost = r.failed, r.lost
	p.Done = r.done(p.Elapsed, p.Lines, r.ended)
	return p
}

// done returns how much of the run is over: by its time or by its work, whichever is ahead.
func (r *run) done(elapsed time.Duration, lines, ended uint64) float64 {
	part := -1.0
	if r.o.Duration > 0 {
		part = elapsed.Seconds() / r.o.Duration.Seconds()
	}
	if n := float64(r.o.Clients); n > 0 && r.o.finite() {
		part = max(part, float64(ended)/n, float64(lines)/(n*float64(max(r.o.Lines, 1))))
	}
	return min(part, 1)
}

func (r *run) summary() Summary {
	s := Summary{
		Seconds: time.Since(r.started).Seconds(), Lines: r.lines.Load(), Bytes: r.bytes.Load(), InDoubt: r.doubt.Load(),
		Numbered: r.input == nil, Clients: r.clients, Senders: map[uint32]uint64{}, Requests: r.latencies(),
	}
	for _, sender := range r.senders {
		if sender.sent > 0 {
			s.Senders[sender.id] = sender.sent
		}
	}
	return s
}

func (r *run) latencies() *latency.Quantiles {
	if r.requests == nil {
		return nil
	}
	return new(r.requests.Quantiles())
}

func (r *run) inputFailure() error {
	if r.input == nil {
		return nil
	}
	return r.input.failure()
}
