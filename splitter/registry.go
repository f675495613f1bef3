package splitter

import (
	"sync"
	"sync/atomic"

	"linesplit/linebuf"
)

// registry knows all connections of a Splitter.
//
// It also shares out the memory that unfinished lines may take: each connection charges its line here, and where the
// sum would exceed the limit, the longest of these lines is dropped. Its own connection has to do that, so it is
// woken. Whoever asked need not wait for it here: the pool makes it wait for the memory itself, and a connection
// that is asked to drop its line does so whatever it waits for, unless it is the channel.
type registry struct {
	limit   int64
	charged atomic.Int64 // the sum of conn.charge

	mu    sync.Mutex
	conns *conn // the newest
	n     int
	added uint64     // ever
	full  bool       // accepting pauses, and the log says so
	room  *sync.Cond // on mu: while full, a connection ended; or a soft end or another limit came
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

// youngest returns at most so many connections, the newest first.
func (r *registry) youngest(most int) (conns []*conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.conns; c != nil && len(conns) < most; c = c.next {
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

// wake lets those who wait for room look again.
func (r *registry) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room.Broadcast()
}

// waitForRoom returns true once a connection more is within the limit, and false if v's soft end comes first.
func (r *registry) waitForRoom(v *serving) bool {
	if v.tuned().MaxConnections <= 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.isFullLocked(v.tuned().MaxConnections) {
		if v.soft.Err() != nil {
			return false
		}
		if !r.full {
			r.full = true
			v.o.Logger.Warn("connection limit reached, accepting pauses", "connections", r.n)
		}
		r.room.Wait()
	}
	if r.full {
		r.full = false
		r.room.Broadcast() // remove does not tell the other listeners any more
		v.o.Logger.Info("accepting again", "connections", r.n)
	}
	return true
}

func (r *registry) isFullLocked(most int) bool { return most > 0 && r.n >= most }

// reserve charges c's unfinished line with charge bytes in place of what it was charged with. It returns false if the
// line is to be dropped instead. It never waits, and charging less always succeeds.
func (r *registry) reserve(c *conn, charge int64) bool {
	more := charge - c.charge.Load() // which its own goroutine alone changes
	if !r.tryCharge(more) && !r.evictFor(c, more) {
		return false
	}
	c.charge.Store(charge)
	if more < 0 {
		c.evictAt.Store(0) // the line that was meant is gone
	}
	return true
}

// tryCharge adds to the sum, if it stays within the limit or falls.
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

// evictFor has others drop their lines until the sum, with more for c, is within the limit but for what they have yet
// to drop. It returns false if c's own line is the longest, or as long as the longest.
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

// longestLocked returns the connection, other than c, with the highest charge of those that have not been asked to
// drop their line, and the sum of the charges of those that have.
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
