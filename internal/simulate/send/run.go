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

// ErrUnreachable is wrapped by Run's error if an address could not be reached at the start.
// Nothing has been sent then.
var ErrUnreachable = errors.New("not reachable")

const (
	reportInterval = 100 * time.Millisecond
	failurePause   = 100 * time.Millisecond // before another client takes the place of one that failed
)

// Run starts clients and returns when all of them have ended: when they have sent everything,
// after o.Duration, or in an orderly way when ctx ends. If progress is not nil, the calling
// goroutine calls it about ten times a second, or as set by o.Interval, and once at the end.
//
// The error says that the options are invalid, that an address is not reachable (ErrUnreachable),
// or that o.Input could not be read. The summary contains what was sent before. Clients that fail
// are no error: see Summary.Failed.
func Run(ctx context.Context, o Options, progress func(Progress)) (Summary, error) {
	if err := o.Check(); err != nil {
		return Summary{}, err
	}
	r := newRun(o.withDefaults())
	defer r.closeProbed()
	if err := r.probeAll(ctx); err != nil {
		return Summary{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.o.Duration > 0 { // not a deadline: dials would fail on it shortly before ctx ends
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
	r.reportProgress(ended, progress)
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
	input   *source      // nil: lines are numbered records
	probed  []chan *link // by address: the connection of probeAll, until a client takes it

	lines, bytes, inDoubt atomic.Uint64
	open                  atomic.Int64

	// Owned by the goroutine in serve until it has ended.
	picker        *picker
	startedByKind map[Kind]int // clients so far, which determines whose turn among the addresses it is
	senders       []*sender
	freeSenders   chan *sender // senders without a client

	mu       sync.Mutex // guards the fields below
	clients  map[Kind]*ClientCount
	ended    uint64             // clients
	failed   uint64             // clients
	lost     uint64             // lost connections that Reconnect replaces
	requests *latency.Histogram // nil before the first acknowledgement
}

func newRun(o Options) *run {
	r := &run{o: o, picker: newPicker(o.Mix), startedByKind: map[Kind]int{},
		freeSenders: make(chan *sender, o.Connections), clients: map[Kind]*ClientCount{}}
	r.o.To = slices.Clone(o.To)
	for i, d := range r.o.To {
		r.o.To[i] = d.withServerName()
		r.probed = append(r.probed, make(chan *link, 1))
	}
	for _, s := range o.Mix {
		r.clients[s.Kind] = &ClientCount{Reasons: map[string]uint64{}, Lost: map[string]uint64{}}
	}
	return r
}

// probeAll connects to every address once.
func (r *run) probeAll(ctx context.Context) error {
	errs := make([]error, len(r.o.To))
	var dials sync.WaitGroup
	for i, d := range r.o.To {
		dials.Go(func() {
			l, err := connect(ctx, d, r.o.DialTimeout)
			if err != nil {
				errs[i] = fmt.Errorf("%w: %w", ErrUnreachable, err)
				return
			}
			r.probed[i] <- l
		})
	}
	dials.Wait()
	return errors.Join(errs...)
}

// connect returns a connection to address number to.
func (r *run) connect(ctx context.Context, to int) (*link, error) {
	select {
	case l := <-r.probed[to]:
		return l, nil
	default:
		return connect(ctx, r.o.To[to], r.o.DialTimeout)
	}
}

func (r *run) closeProbed() {
	for _, probed := range r.probed {
		select {
		case l := <-probed:
			l.Close()
		default:
		}
	}
}

// serve starts clients, and returns when they have ended. Idle clients stay until all others have
// ended and no more will start.
func (r *run) serve(ctx context.Context) {
	hold, release := context.WithCancel(ctx)
	defer release()
	var busy, idle sync.WaitGroup
	arrivals := newPace(r.o.ClientsPerSecond, time.Now())
	for n := 0; r.o.Clients == 0 || n < r.o.Clients; n++ {
		s := r.nextSender(ctx, &arrivals)
		if s == nil {
			break
		}
		switch c := r.startClient(s); c.kind {
		case Idle:
			idle.Go(func() { r.runClient(hold, c) })
		default:
			busy.Go(func() { r.runClient(ctx, c) })
		}
	}
	busy.Wait()
	if !r.o.Mix.onlyIdle() {
		release()
	}
	idle.Wait()
}

// nextSender waits until another client may start, and returns its sender; nil if no more may
// start.
func (r *run) nextSender(ctx context.Context, arrivals *pace) *sender {
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
	case s := <-r.freeSenders:
		return s
	default:
	}
	if len(r.senders) < r.o.Connections {
		s := newSender(r.o.FirstSender+uint32(len(r.senders)), r.o.Length, r.input)
		r.senders = append(r.senders, s)
		return s
	}
	select {
	case s := <-r.freeSenders:
		return s
	case <-ctx.Done():
		return nil
	}
}

func (r *run) startClient(s *sender) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind := r.picker.next(func(k Kind) bool { return r.clients[k].open() < r.o.maxClients(k) })
	to := r.startedByKind[kind] % len(r.o.To)
	r.startedByKind[kind]++
	r.clients[kind].Started++
	return newClient(r, kind, to, s)
}

// runClient runs a client and counts its end.
func (r *run) runClient(ctx context.Context, c *client) {
	err := c.workUntilDone(ctx)
	r.countEnd(c.kind, err)
	if err != nil {
		sleep(ctx, failurePause)
	}
	r.freeSenders <- c.s
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

// maxLatency is the highest latency that is measured; higher ones count as this.
const maxLatency = time.Hour

func (r *run) countAnswer(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.requests == nil {
		r.requests = latency.New(time.Nanosecond, maxLatency)
	}
	r.requests.Record(took)
}

// reportProgress calls progress until ended is closed, and once after that.
func (r *run) reportProgress(ended <-chan struct{}, progress func(Progress)) {
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
	p := Progress{Elapsed: time.Since(r.started), Lines: r.lines.Load(), Bytes: r.bytes.Load(),
		Open: int(r.open.Load())}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		p.Started += c.Started
	}
	p.Failed, p.Lost = r.failed, r.lost
	p.Done = r.done(p.Elapsed, p.Lines, r.ended)
	return p
}

// done returns the completed part of the run, by time or by work, whichever is larger.
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
		Seconds: float64(time.Since(r.started).Microseconds()) / 1e6, Lines: r.lines.Load(), Bytes: r.bytes.Load(),
		InDoubt:  r.inDoubt.Load(),
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
