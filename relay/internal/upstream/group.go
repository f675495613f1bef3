package upstream

import (
	"container/list"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/loglimit"
	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// Group holds the backends of one kind, streams or datagrams, and the clients that wait for one.
//
// A backend with room is given to the first waiter that it suits. So a new client that finds room
// takes it from no waiter.
type Group struct {
	backends atomic.Pointer[[]*Backend] // replaced under mu, never modified in place; see All
	settings *traffic.Settings
	logger   *slog.Logger

	unreachable atomic.Bool      // no target could be reached at the last attempt
	reachLog    loglimit.Limiter // of changes of unreachable

	mu         sync.Mutex // guards the fields below
	balancer   balancer
	queue      list.List  // of *Waiter, first in, first out
	candidates []*Backend // scratch of chooseLocked
}

func newGroup(s *traffic.Settings, balance string, l *slog.Logger) *Group {
	g := &Group{settings: s, logger: l, balancer: newBalancer(balance)}
	g.reachLog.Burst = 2 // both messages at once
	g.backends.Store(new([]*Backend))
	return g
}

// All returns the current backends. The slice must not be modified.
func (g *Group) All() []*Backend { return *g.backends.Load() }

// SetUnreachable records whether the last attempt to reach a target failed. It logs changes only,
// and repeated ones in sum, so that clients without a target do not flood the log.
func (g *Group) SetUnreachable(unreachable bool) {
	if g.unreachable.Load() == unreachable || !g.unreachable.CompareAndSwap(!unreachable, unreachable) {
		return
	}
	if unreachable {
		g.reachLog.Warn(g.logger, "no target can be reached, refusing clients")
	} else {
		g.reachLog.Log(g.logger, slog.LevelInfo, "a target can be reached again")
	}
}

func (g *Group) setBalancer(b balancer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.balancer = b
}

// add appends b and gives it to waiters.
func (g *Group) add(b *Backend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.replaceLocked(append(slices.Clone(g.All()), b))
	g.serveLocked()
}

// remove takes b out of the group. It returns false if b still has connections.
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
	g.resetTurnsLocked()
}

// resetTurnsLocked resets the state of roundRobin. Otherwise a backend would get no clients until
// it had made up for turns of backends that are gone, or of a weight that it no longer has.
func (g *Group) resetTurnsLocked() {
	for _, b := range g.All() {
		b.current = 0
	}
}

// drain gives b no more clients. It returns false if b was draining already.
func (g *Group) drain(b *Backend) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.draining.Load() {
		return false
	}
	b.quietSince.Store(time.Now().UnixNano())
	b.draining.Store(true)
	g.resetTurnsLocked()
	return true
}

// resume undoes drain. It returns false if b was not draining.
func (g *Group) resume(b *Backend) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !b.draining.Load() {
		return false
	}
	b.draining.Store(false)
	g.resetTurnsLocked()
	g.serveLocked()
	return true
}

func (g *Group) setWeight(b *Backend, weight int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.weight.Store(weight)
	g.resetTurnsLocked()
}

// CountOpen returns the number of backends other than except that take clients.
func (g *Group) CountOpen(except *Backend) (n int) {
	for _, b := range g.All() {
		if b != except && !b.draining.Load() {
			n++
		}
	}
	return n
}

// TryAcquire is Acquire without the queue: it returns nil if no backend has room.
func (g *Group) TryAcquire(client netip.Addr, tried *Tried) *Backend {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
	b, _ := g.chooseLocked(client, tried)
	return b
}

// release undoes Acquire, Wait or TryAcquire when the connection has ended.
func (g *Group) release(b *Backend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.active.Add(-1) == 0 {
		b.quietSince.Store(time.Now().UnixNano())
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

// preferences are the classes of targets that a client may get, the best first. A class counts only
// if the better ones have no backend for the client. One that the client has tried in vain is none:
// a backup is better than no target. The last two classes allow targets that only failed dials, not
// checks, have marked down.
var preferences = [...]func(*target.Target) bool{
	func(t *target.Target) bool { return !t.Address.Backup && !t.Down() },
	func(t *target.Target) bool { return t.Address.Backup && !t.Down() },
	func(t *target.Target) bool { return !t.Address.Backup && !t.Unhealthy() },
	func(t *target.Target) bool { return t.Address.Backup && !t.Unhealthy() },
}

// chooseLocked returns a backend and counts a connection there. Otherwise it returns nil and
// reports whether waiting helps: backends would suit but are full, or there is none at all yet.
func (g *Group) chooseLocked(client netip.Addr, tried *Tried) (b *Backend, full bool) {
	for _, suits := range preferences {
		g.candidates = g.candidates[:0]
		for _, b := range g.All() {
			switch {
			case b.draining.Load() || tried.has(b) || !suits(b.Target):
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
	return nil, len(g.All()) == 0
}

// Limited reports whether clients may have to wait, since a backend has a limit.
func (g *Group) Limited() bool {
	return slices.ContainsFunc(g.All(), func(b *Backend) bool { return b.limit > 0 })
}

// Active returns the number of connections to all backends of the group.
func (g *Group) Active() (n int64) {
	for _, b := range g.All() {
		n += b.active.Load()
	}
	return n
}

// AnyFull reports whether some backend would take clients but for its limit.
func (g *Group) AnyFull() bool {
	return slices.ContainsFunc(g.All(), func(b *Backend) bool { return b.full() && !b.draining.Load() && !b.Target.Down() })
}
