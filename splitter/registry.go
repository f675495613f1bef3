package splitter

import (
	"context"
	"log/slog"
	"sync"
)

// registry holds all connections of a Splitter, and limits their number.
type registry struct {
	mu     sync.Mutex
	conns  chain[conn, *conn]
	others chain[Sender, *Sender] // that the Splitter does not serve
	n      int                    // of senders: the connections of UDP listeners are not counted
	added  uint64                 // connections ever added; the last ID
	full   bool                   // accepting is paused, and this has been logged
	room   *sync.Cond             // on mu; signals the end of a connection while full, a soft end or a new limit
}

func (r *registry) init() { r.room = sync.NewCond(&r.mu) }

func (r *registry) add(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns.add(c)
	c.id = r.joinLocked(!c.datagrams)
}

func (r *registry) addSender(x *Sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others.add(x)
	x.id = r.joinLocked(true)
}

// joinLocked counts a connection that was added, and returns its ID.
func (r *registry) joinLocked(sender bool) uint64 {
	if sender {
		r.n++
	}
	r.added++
	return r.added
}

func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns.remove(c)
	r.leaveLocked(!c.datagrams)
}

func (r *registry) removeSender(x *Sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.others.remove(x)
	r.leaveLocked(true)
}

// leaveLocked counts a connection that was removed, and lets a listener that waits for room look.
func (r *registry) leaveLocked(sender bool) {
	if sender {
		r.n--
	}
	if r.full {
		r.room.Broadcast()
	}
}

// newestOthers returns at most limit senders that the Splitter does not serve, the newest first.
func (r *registry) newestOthers(limit int) (senders []*Sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for x := r.others.newest; x != nil && len(senders) < limit; x = x.next {
		senders = append(senders, x)
	}
	return senders
}

// newest returns at most limit connections of senders, the newest first.
func (r *registry) newest(limit int) (conns []*conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.conns.newest; c != nil && len(conns) < limit; c = c.next {
		if !c.datagrams {
			conns = append(conns, c)
		}
	}
	return conns
}

// each calls f, which must not block, for each connection of v.
func (r *registry) each(v *serving, f func(*conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.conns.newest; c != nil; c = c.next {
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
