package splitter

import (
	"context"
	"log/slog"
	"sync"
)

// registry holds all connections of a Splitter, and limits their number.
type registry struct {
	mu     sync.Mutex
	conns  *conn      // the newest; next leads to older ones
	others *Sender    // the same of those that the Splitter does not serve
	n      int        // of senders: the connections of UDP listeners are not counted
	added  uint64     // connections ever added; the last ID
	full   bool       // accepting is paused, and this has been logged
	room   *sync.Cond // on mu; signals the end of a connection while full, a soft end or a new limit
}

func (r *registry) init() { r.room = sync.NewCond(&r.mu) }

func (r *registry) add(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.next = r.conns; c.next != nil {
		c.next.prev = c
	}
	r.conns = c
	if !c.datagrams {
		r.n++
	}
	r.added++
	c.id = r.added
}

func (r *registry) addSender(x *Sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.next = r.others; x.next != nil {
		x.next.prev = x
	}
	r.others = x
	r.n++
	r.added++
	x.id = r.added
}

func (r *registry) removeSender(x *Sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		r.others = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	r.n--
	if r.full {
		r.room.Broadcast()
	}
}

// newestOthers returns at most limit senders that the Splitter does not serve, the newest first.
func (r *registry) newestOthers(limit int) (senders []*Sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for x := r.others; x != nil && len(senders) < limit; x = x.next {
		senders = append(senders, x)
	}
	return senders
}

// newest returns at most limit connections of senders, the newest first.
func (r *registry) newest(limit int) (conns []*conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.conns; c != nil && len(conns) < limit; c = c.next {
		if !c.datagrams {
			conns = append(conns, c)
		}
	}
	return conns
}

func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		r.conns = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	if !c.datagrams {
		r.n--
	}
	if r.full {
		r.room.Broadcast()
	}
}

// each calls f, which must not block, for each connection of v.
func (r *registry) each(v *serving, f func(*conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.conns; c != nil; c = c.next {
		if c.v == v {
			f(c)
		}
	}
}

// wake lets the listeners that wait for room check again.
func (r *registry) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room.Broadcast()
}

// waitForRoom waits until one more connection is within the limit. It returns false if soft ends
// first.
func (r *registry) waitForRoom(soft context.Context, v *Splitter) bool {
	if v.tuned().MaxConnections <= 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.isFullLocked(v.tuned().MaxConnections) {
		if soft.Err() != nil {
			return false
		}
		if !r.full {
			r.full = true
			v.counters.pauses.Add(1)
			v.limitLog.Warn(v.o.Logger, "connection limit reached, accepting pauses", slog.Int("connections", r.n))
		}
		r.room.Wait()
	}
	if r.full {
		r.full = false
		r.room.Broadcast() // remove no longer wakes the other listeners
		v.limitLog.Log(v.o.Logger, slog.LevelInfo, "accepting again", slog.Int("connections", r.n))
	}
	return true
}

// isPaused reports whether accepting is paused at the limit of connections.
func (r *registry) isPaused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

func (r *registry) isFullLocked(limit int) bool { return limit > 0 && r.n >= limit }
