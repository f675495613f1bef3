package upstream

import (
	"container/list"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// Group is the backends of one kind, and those who wait for one.
//
// A place is handed to the first in the queue who has use for it. So whoever comes anew and finds one free takes it from nobody.
type Group struct {
	backends atomic.Pointer[[]*Backend] // replaced, never changed, under mu; see all
	settings *traffic.Settings
	logger   *slog.Logger

	cutOff atomic.Bool // no target could be reached when last tried

	mu         sync.Mutex // guards what follows
	balancer   balancer
	queue      list.List  // of *Waiter, the first to come in front
	candidates []*Backend // scratch
}

func newGroup(s *traffic.Settings, balance string, l *slog.Logger) *Group {
	g := &Group{settings: s, logger: l, balancer: newBalancer(balance)}
	g.backends.Store(new([]*Backend))
	return g
}

// All returns the backends as they are now. Nobody changes the slice.
func (g *Group) All() []*Backend { return *g.backends.Load() }

// SetUnreachable keeps a log line for each client that finds no target from flooding the log: it logs the first, and the end of it.
func (g *Group) SetUnreachable(now bool) {
	if g.cutOff.Load() == now || !g.cutOff.CompareAndSwap(!now, now) {
		return
	}
	if now {
		g.logger.Warn("no target can be reached, refusing clients")
	} else {
		g.logger.Info("a target can be reached again")
	}
}

func (g *Group) setBalancer(b balancer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.balancer = b
}

// add puts b behind the others, and gives it to those who wait.
func (g *Group) add(b *Backend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.replaceLocked(append(slices.Clone(g.All()), b))
	g.serveLocked()
}

// remove returns false if b still has connections.
func (g *Group) remove(b *Backend) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.active.Load() > 0 {
		return false
	}
	g.replaceLocked(without(g.All(), b))
	return true
}

func (g *Group) replaceLocked(backends []*Backend) {
	g.backends.Store(&backends)
	g.evenLocked()
}

// evenLocked forgets whose turn it is. What a place owes to others that have gone since, or to a weight that it had, it would make good
// by getting nothing for as long.
func (g *Group) evenLocked() {
	for _, b := range g.All() {
		b.current = 0
	}
}

// drain lets b have no more clients. It returns false if it had none before.
func (g *Group) drain(b *Backend) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.draining.Load() {
		return false
	}
	b.quiet.Store(time.Now().UnixNano())
	b.draining.Store(true)
	g.evenLocked()
	return true
}

// resume undoes drain. It returns false if there is nothing to be undone.
func (g *Group) resume(b *Backend) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !b.draining.Load() {
		return false
	}
	b.draining.Store(false)
	g.evenLocked()
	g.serveLocked()
	return true
}

func (g *Group) setWeight(b *Backend, weight int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.weight.Store(weight)
	g.evenLocked()
}

// Open returns how many backends take clients, except where not is one of them.
func (g *Group) Open(not *Backend) (n int) {
	for _, b := range g.All() {
		if b != not && !b.draining.Load() {
			n++
		}
	}
	return n
}

// TryAcquire is Enter without the queue: nil if there is no place to be had now.
func (g *Group) TryAcquire(client netip.Addr, tried *Tried) *Backend {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
	b, _ := g.chooseLocked(client, tried)
	return b
}

// release gives back what Enter, Wait or TryAcquire has returned.
func (g *Group) release(b *Backend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.active.Add(-1) == 0 {
		b.quiet.Store(time.Now().UnixNano())
	}
	g.serveLocked()
}

func (g *Group) fullLocked() bool {
	for _, b := range g.All() {
		if !b.full() && !b.draining.Load() {
			return false
		}
	}
	return true
}

// suits are the kinds of backends that a client may get, the best first. Only if there are none of one kind does the next count. That a
// place has been tried in vain makes it none for this client: better a backup than no target at all. The last two let what dials alone
// have marked down be tried where there is nothing else.
var suits = [...]func(*target.Target) bool{
	func(t *target.Target) bool { return !t.Address.Backup && !t.Down() },
	func(t *target.Target) bool { return t.Address.Backup && !t.Down() },
	func(t *target.Target) bool { return !t.Address.Backup && !t.Unhealthy() },
	func(t *target.Target) bool { return t.Address.Backup && !t.Unhealthy() },
}

// chooseLocked returns a place and counts a connection there; or nil, and whether that is because backends are full.
func (g *Group) chooseLocked(client netip.Addr, tried *Tried) (b *Backend, full bool) {
	for _, suit := range suits {
		g.candidates = g.candidates[:0]
		for _, b := range g.All() {
			switch {
			case b.draining.Load() || tried.has(b) || !suit(b.Target):
			case b.full():
				full = true
			default:
				g.candidates = append(g.candidates, b)
			}
		}
		if len(g.candidates) > 0 {
			b := g.balancer.pick(g.candidates, client)
			b.active.Add(1)
			return b, false
		}
		if full {
			return nil, true
		}
	}
	return nil, false
}

// Limited says whether clients may have to wait.
func (g *Group) Limited() bool {
	return slices.ContainsFunc(g.All(), func(b *Backend) bool { return b.most > 0 })
}

// Active returns how many connections there are to all backends of the group.
func (g *Group) Active() (n int64) {
	for _, b := range g.All() {
		n += b.active.Load()
	}
	return n
}

// Full says whether there is one that would take clients but for its limit.
func (g *Group) Full() bool {
	return slices.ContainsFunc(g.All(), func(b *Backend) bool { return b.full() && !b.draining.Load() && !b.Target.Down() })
}
