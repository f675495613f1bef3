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
	ready   chan *Backend // gets one, already counted
}

// Enter returns a place for client, one not tried yet, with a connection counted there. Or, where all that would do are full, the client's
// position in the queue; then Wait has to be called. Or nothing, if there is nothing to wait for.
func (g *Group) Enter(client netip.Addr, tried *Tried) (*Backend, *Waiter) {
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

// Wait returns a place as Enter does, or why there was none: traffic.EndQueueTimeout, or traffic.EndShutdown because ctx has ended.
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

// leave takes a waiter out of the queue. It returns the place that the waiter was handed before, if any.
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

// ServeQueue looks whether a target's return has made room for those who wait: targets do not tell.
func (g *Group) ServeQueue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serveLocked()
}

func (g *Group) serveLocked() {
	inVain := false // for those who have not tried any, who can all have the same
	for e := g.queue.Front(); e != nil && !g.fullLocked(); {
		w, next := e.Value.(*Waiter), e.Next()
		fresh := w.tried == nil || len(*w.tried) == 0
		if b := g.chooseUnless(fresh && inVain, w); b != nil {
			g.queue.Remove(e)
			w.ready <- b
		} else if fresh {
			inVain = true
		}
		e = next
	}
}

func (g *Group) chooseUnless(inVain bool, w *Waiter) *Backend {
	if inVain {
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

// Waiting returns how many clients wait.
func (s *Backends) Waiting() int64 { return s.Streams.waiting() + s.Datagrams.waiting() }
