package upstream

import (
	"container/list"
	"context"
	"net/netip"
	"time"

	"linesplit/relay/internal/traffic"
)

// Waiter is a client in the queue.
type Waiter struct {
	element *list.Element
	client  netip.Addr
	tried   *Tried
	ready   chan *Backend // gets the backend, with the connection counted
}

// Acquire returns a backend for client that is not in tried, and counts a connection there. If all
// those that suit are full, it queues the client and returns a Waiter for Wait. It returns nil and
// nil if there is no backend to wait for.
func (g *Group) Acquire(client netip.Addr, tried *Tried) (*Backend, *Waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
	b, full := g.chooseLocked(client, tried)
	if b != nil || !full {
		return b, nil
	}
	w := &Waiter{client: client, tried: tried, ready: make(chan *Backend, 1)}
	w.element = g.queue.PushBack(w)
	return nil, w
}

// Wait waits in the queue and returns a backend as Acquire does, or nil and the reason:
// traffic.EndQueueTimeout, or traffic.EndShutdown if ctx has ended.
func (g *Group) Wait(ctx context.Context, w *Waiter) (b *Backend, why traffic.End) {
	t := time.NewTimer(g.settings.Load().QueueTimeout)
	defer t.Stop()
	select {
	case b := <-w.ready:
		return b, traffic.NotEnded
	case <-t.C:
		why = traffic.EndQueueTimeout
	case <-ctx.Done():
		why = traffic.EndShutdown
	}
	if b := g.leave(w); b != nil {
		return b, traffic.NotEnded
	}
	return nil, why
}

// leave takes a waiter out of the queue. It returns the backend that the waiter was given
// meanwhile, if any.
func (g *Group) leave(w *Waiter) *Backend {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case b := <-w.ready:
		return b
	default:
		g.queue.Remove(w.element)
		return nil
	}
}

// ServeQueue gives backends to waiters if a target has come back up. Targets do not announce that.
func (g *Group) ServeQueue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
}

func (g *Group) serveLocked() {
	failed := false // no backend for a waiter that has tried none; all such waiters have the same choice
	for e := g.queue.Front(); e != nil && !g.fullLocked(); {
		w, next := e.Value.(*Waiter), e.Next()
		fresh := w.tried == nil || len(*w.tried) == 0
		if b := g.chooseUnless(fresh && failed, w); b != nil {
			g.queue.Remove(e)
			w.ready <- b
		} else if fresh {
			failed = true
		}
		e = next
	}
}

func (g *Group) chooseUnless(failed bool, w *Waiter) *Backend {
	if failed {
		return nil
	}
	b, _ := g.chooseLocked(w.client, w.tried)
	return b
}

func (g *Group) waiting() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.queue.Len())
}

// Waiting returns the number of clients in the queues.
func (s *Backends) Waiting() int64 { return s.Streams.waiting() + s.Datagrams.waiting() }
