package relay

import (
	"container/list"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/target"
)

// place is a target with what goes on there.
type place struct {
	t    *target.Target
	most int64 // connections; 0 for any number
	key  uint64

	total             atomic.Uint64
	bytesIn, bytesOut atomic.Uint64
	connect           atomic.Int64 // nanoseconds that the last connect took

	// Anybody may look at these; they change under group.mu only.
	active   atomic.Int64
	weight   atomic.Int64 // at least 1
	draining atomic.Bool  // gets no more clients
	quiet    atomic.Int64 // since when it drains or, without connections, is drained; Unix nanoseconds

	// These change under Relay.mu only; see Relay.Remove.
	leaving  atomic.Bool // goes once it has no connections
	expelled atomic.Bool // its connections are to end now
	until    time.Time   // when they are to
	expiry   *time.Timer // calls expel then; nil if that is not to be

	// What balancers keep, under group.mu.
	current int64   // see roundRobin
	rate    float64 // see leastBandwidth
	counted uint64
	sampled time.Time
}

func newPlace(t *target.Target) *place {
	p := &place{t: t, most: int64(t.Address.MaxConnections), key: hashString(t.String())}
	p.weight.Store(int64(t.Address.Share()))
	return p
}

func (p *place) full() bool { return p.most > 0 && p.active.Load() >= p.most }

// tried are the places that a client need not try again for now.
type tried []*place

func (s *tried) add(p *place) { *s = append(*s, p) }

func (s *tried) has(p *place) bool { return s != nil && slices.Contains(*s, p) }

// group is the places of one kind, and those who wait for one.
//
// A place is handed to the first in the queue who has use for it. So whoever comes anew and finds one free takes it from nobody.
type group struct {
	places atomic.Pointer[[]*place] // replaced, never changed, under mu; see all
	tuned  func() *Tuning
	logger *slog.Logger

	cutOff atomic.Bool // no target could be reached when last tried

	mu         sync.Mutex // guards what follows
	balancer   balancer
	queue      list.List // of *waiter, the first to come in front
	candidates []*place  // scratch
}

type waiter struct {
	client netip.Addr
	tried  *tried
	ready  chan *place // gets one, already counted
}

func newGroup(r *Relay) *group {
	g := &group{tuned: r.tuned, logger: r.o.Logger, balancer: newBalancer(r.balance)}
	g.places.Store(new([]*place))
	return g
}

// all returns the places as they are now. Nobody changes the slice.
func (g *group) all() []*place { return *g.places.Load() }

// unreachable keeps a log line for each client that finds no target from flooding the log: it logs the first, and the end of it.
func (g *group) unreachable(now bool) {
	if g.cutOff.Load() == now || !g.cutOff.CompareAndSwap(!now, now) {
		return
	}
	if now {
		g.logger.Warn("no target can be reached, refusing clients")
	} else {
		g.logger.Info("a target can be reached again")
	}
}

func (g *group) setBalancer(b balancer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.balancer = b
}

// add puts p behind the others, and gives it to those who wait.
func (g *group) add(p *place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.replaceLocked(append(slices.Clone(g.all()), p))
	g.serveLocked()
}

// remove returns false if p still has connections.
func (g *group) remove(p *place) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.active.Load() > 0 {
		return false
	}
	g.replaceLocked(without(g.all(), p))
	return true
}

func (g *group) replaceLocked(places []*place) {
	g.places.Store(&places)
	g.evenLocked()
}

// evenLocked forgets whose turn it is. What a place owes to others that have gone since, or to a weight that it had, it would make good
// by getting nothing for as long.
func (g *group) evenLocked() {
	for _, p := range g.all() {
		p.current = 0
	}
}

// drain lets p have no more clients. It returns false if it had none before.
func (g *group) drain(p *place) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.draining.Load() {
		return false
	}
	p.quiet.Store(time.Now().UnixNano())
	p.draining.Store(true)
	g.evenLocked()
	return true
}

// resume undoes drain. It returns false if there is nothing to be undone.
func (g *group) resume(p *place) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !p.draining.Load() {
		return false
	}
	p.draining.Store(false)
	g.evenLocked()
	g.serveLocked()
	return true
}

func (g *group) setWeight(p *place, weight int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.weight.Store(weight)
	g.evenLocked()
}

// open returns how many places take clients, except where not is one of them.
func (g *group) open(not *place) (n int) {
	for _, p := range g.all() {
		if p != not && !p.draining.Load() {
			n++
		}
	}
	return n
}

// enter returns a place for client, one not tried yet, with a connection counted there. Or, where all that would do are full, the client's
// position in the queue; then wait has to be called. Or nothing, if there is nothing to wait for.
func (g *group) enter(client netip.Addr, tried *tried) (*place, *list.Element) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
	p, full := g.chooseLocked(client, tried)
	if p != nil || !full {
		return p, nil
	}
	return nil, g.queue.PushBack(&waiter{client: client, tried: tried, ready: make(chan *place, 1)})
}

// wait returns a place as enter does, or why there was none: queueTimeout, or shutdown because ctx has ended.
func (g *group) wait(ctx context.Context, e *list.Element) (p *place, why end) {
	t := time.NewTimer(g.tuned().QueueTimeout)
	defer t.Stop()
	select {
	case p := <-e.Value.(*waiter).ready:
		return p, notEnded
	case <-t.C:
		why = queueTimeout
	case <-ctx.Done():
		why = shutdown
	}
	if p := g.leave(e); p != nil {
		return p, notEnded
	}
	return nil, why
}

// leave takes a waiter out of the queue. It returns the place that the waiter was handed before, if any.
func (g *group) leave(e *list.Element) *place {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case p := <-e.Value.(*waiter).ready:
		return p
	default:
		g.queue.Remove(e)
		return nil
	}
}

// tryAcquire is enter without the queue: nil if there is no place to be had now.
func (g *group) tryAcquire(client netip.Addr, tried *tried) *place {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
	p, _ := g.chooseLocked(client, tried)
	return p
}

// release gives back what enter, wait or tryAcquire has returned.
func (g *group) release(p *place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.active.Add(-1) == 0 {
		p.quiet.Store(time.Now().UnixNano())
	}
	g.serveLocked()
}

// serveQueue looks whether a target's return has made room for those who wait: targets do not tell.
func (g *group) serveQueue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
}

func (g *group) serveLocked() {
	inVain := false // for those who have not tried any, who can all have the same
	for e := g.queue.Front(); e != nil && !g.fullLocked(); {
		w, next := e.Value.(*waiter), e.Next()
		fresh := w.tried == nil || len(*w.tried) == 0
		if p := g.chooseUnless(fresh && inVain, w); p != nil {
			g.queue.Remove(e)
			w.ready <- p
		} else if fresh {
			inVain = true
		}
		e = next
	}
}

func (g *group) chooseUnless(inVain bool, w *waiter) *place {
	if inVain {
		return nil
	}
	p, _ := g.chooseLocked(w.client, w.tried)
	return p
}

func (g *group) fullLocked() bool {
	for _, p := range g.all() {
		if !p.full() && !p.draining.Load() {
			return false
		}
	}
	return true
}

// suits are the kinds of places that a client may get, the best first. Only if there are none of one kind does the next count. That a
// place has been tried in vain makes it none for this client: better a backup than no target at all. The last two let what dials alone
// have marked down be tried where there is nothing else.
var suits = [...]func(*target.Target) bool{
	func(t *target.Target) bool { return !t.Address.Backup && !t.Down() },
	func(t *target.Target) bool { return t.Address.Backup && !t.Down() },
	func(t *target.Target) bool { return !t.Address.Backup && !t.Unhealthy() },
	func(t *target.Target) bool { return t.Address.Backup && !t.Unhealthy() },
}

// chooseLocked returns a place and counts a connection there; or nil, and whether that is because places are full.
func (g *group) chooseLocked(client netip.Addr, tried *tried) (p *place, full bool) {
	for _, suit := range suits {
		g.candidates = g.candidates[:0]
		for _, p := range g.all() {
			switch {
			case p.draining.Load() || tried.has(p) || !suit(p.t):
			case p.full():
				full = true
			default:
				g.candidates = append(g.candidates, p)
			}
		}
		if len(g.candidates) > 0 {
			p := g.balancer.pick(g.candidates, client)
			p.active.Add(1)
			return p, false
		}
		if full {
			return nil, true
		}
	}
	return nil, false
}

func (g *group) waiting() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.queue.Len())
}

// limited says whether clients may have to wait.
func (g *group) limited() bool {
	return slices.ContainsFunc(g.all(), func(p *place) bool { return p.most > 0 })
}
