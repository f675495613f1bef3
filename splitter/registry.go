package splitter

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"linesplit/linebuf"
)

// registry holds all connections of a Splitter.
//
// It also limits the memory of unfinished lines: each connection charges its line here, and if the
// sum would exceed the limit, the longest of these lines is dropped. Its own connection has to drop
// it, so that connection is woken. The caller need not wait for that here: it waits in the pool,
// for the memory itself. A connection that is asked to drop its line does so whatever it is waiting
// for, except the channel.
type registry struct {
	limit   int64
	charged atomic.Int64 // the sum of conn.charge

	mu    sync.Mutex
	conns *conn // the newest; next leads to older ones
	n     int
	added uint64     // connections ever added; the last ID
	full  bool       // accepting is paused, and this has been logged
	room  *sync.Cond // on mu; signals the end of a connection while full, a soft end or a new limit
}

func (r *registry) init(limit int64) {
	r.limit = limit
	r.room = sync.NewCond(&r.mu)
}

func (r *registry) add(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.next = r.conns; c.next != nil {
		c.next.prev = c
	}
	r.conns = c
	r.n++
	r.added++
	c.id = r.added
}

// newest returns at most limit connections, the newest first.
func (r *registry) newest(limit int) (conns []*conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.conns; c != nil && len(conns) < limit; c = c.next {
		conns = append(conns, c)
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
	r.n--
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
func (r *registry) waitForRoom(soft context.Context, v *serving) bool {
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

func (r *registry) isFullLocked(limit int) bool { return limit > 0 && r.n >= limit }

// reserve replaces the charge for c's unfinished line. It returns false if the line is to be
// dropped instead. It never waits, and lowering the charge always succeeds.
func (r *registry) reserve(c *conn, charge int64) bool {
	more := charge - c.charge.Load() // only this goroutine changes c.charge
	if !r.tryCharge(more) && !r.evictFor(c, more) {
		return false
	}
	c.charge.Store(charge)
	if more < 0 {
		c.evictAt.Store(0) // the line to evict is gone
	}
	return true
}

// tryCharge adds more to the sum, and returns false if that would exceed the limit. Lowering the
// sum always succeeds.
func (r *registry) tryCharge(more int64) bool {
	for {
		old := r.charged.Load()
		if more > 0 && old+more > r.limit {
			return false
		}
		if r.charged.CompareAndSwap(old, old+more) {
			return true
		}
	}
}

// evictFor asks other connections to drop their lines until the sum, plus more for c and without
// the lines to be dropped, is within the limit. It returns false if c's own line is the longest, or
// as long as the longest.
func (r *registry) evictFor(c *conn, more int64) bool {
	length := int64(linebuf.ClassSize(c.carried()))
	r.mu.Lock()
	defer r.mu.Unlock()
	for c.evictAt.Load() == 0 {
		longest, leaving := r.longestLocked(c)
		if r.charged.Load()-leaving+more <= r.limit {
			r.charged.Add(more)
			return true
		}
		if longest == nil || longest.charge.Load() <= length {
			return false
		}
		longest.evict()
	}
	return false
}

// longestLocked returns the connection other than c with the highest charge among those not asked
// to drop their line, and the sum of the charges of those asked.
func (r *registry) longestLocked(c *conn) (longest *conn, leaving int64) {
	for o := r.conns; o != nil; o = o.next {
		charge := o.charge.Load()
		switch {
		case o == c || charge == 0:
		case o.evictAt.Load() != 0:
			leaving += charge
		case longest == nil || charge > longest.charge.Load():
			longest = o
		}
	}
	return longest, leaving
}
