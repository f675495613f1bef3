package linebuf

import (
	"context"
	"slices"

	"linesplit/internal/framing"
)

// Pool hands out buffers within a budget of bytes. A buffer counts with its capacity from the
// moment it is handed out until it is put back. A Pool is safe for concurrent use.
//
// The free lists of Memory take the place of a sync.Pool, which has no budget and loses its buffers
// at each garbage collection.
type Pool struct {
	memory *Memory
	limit  int64 // the most bytes to hand out at one time

	// Guarded by memory.mu.
	reserved  int64   // bytes of the budget that no other pool gets
	inUse     int64   // bytes handed out
	waiters   waiter  // sentinel of the ring of waiters; its next has waited longest
	nWaiters  int     // number of waiters
	closed    bool    // Close was called
	freeViews *Buffer // list of views to use again
	nViews    int     // length of freeViews
}

// NewPool returns a pool with a budget of limit bytes of its own. A limit below 1 means no limit.
func NewPool(limit int64) *Pool { return NewMemory(limit).NewPool(limit) }

// Limit returns the bytes that are reserved for the pool: all of its own budget, or its part of a
// shared one. Limits for lines in one state, such as unfinished lines, are fractions of it.
func (p *Pool) Limit() int64 {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return p.reserved
}

// Bound returns the bytes that the pool may hand out at the moment, which depends on the other
// pools of a shared budget. It is at least Limit.
func (p *Pool) Bound() int64 {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return min(p.limit, max(p.reserved, p.memory.limit-(p.memory.committed-max(p.inUse, p.reserved))))
}

// InUse returns how many bytes are handed out at the moment. MustGet may raise it above Limit.
func (p *Pool) InUse() int64 {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return p.inUse
}

// Get returns an empty buffer of at least size bytes, which the caller owns. While the budget has
// no room for it, Get waits; waiters are served first in, first out. The only error is that of ctx,
// without a buffer. A size above the whole budget is granted when nothing else is in use.
func (p *Pool) Get(ctx context.Context, size int) (*Buffer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b := p.TryGet(size); b != nil {
		return b, nil
	}
	return p.wait(ctx, classOf(size))
}

// TryGet is Get without waiting: it returns nil if the budget has no room, or if other callers are
// waiting for room.
func (p *Pool) TryGet(size int) *Buffer {
	class := classOf(size)
	p.memory.mu.Lock()
	if p.nWaiters > 0 || !p.fitsLocked(class) {
		p.memory.mu.Unlock()
		return nil
	}
	b := p.takeLocked(class)
	p.memory.mu.Unlock()
	return orNew(b, class)
}

// MustGet is Get for the few small buffers that are needed before larger ones can be put back. It
// neither waits nor fails, and exceeds the budget if it has to.
func (p *Pool) MustGet(size int) *Buffer {
	class := classOf(size)
	p.memory.mu.Lock()
	b := p.takeLocked(class)
	p.memory.mu.Unlock()
	return orNew(b, class)
}

// Put gives back b, which the caller owns until then. It does nothing if b is nil, and panics if b
// was put back before, since by then it may have another owner.
//
// Put releases the receipts that b holds, since its lines are confirmed, or dropped and counted. If
// they are neither, the caller calls [Buffer.Forsake] first.
func (p *Pool) Put(b *Buffer) {
	if b == nil {
		return
	}
	if len(b.receipts) > 0 {
		b.release()
	}
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	if b.free || b.views > 0 {
		panic("linebuf: a buffer was put back twice, or while others share it")
	}
	if b.base != nil {
		if b = p.putViewLocked(b); b == nil {
			return
		}
	}
	size := int64(len(b.store))
	if b.account != nil {
		b.account.held.Add(-size)
		b.account = nil
	}
	p.useLocked(-size)
	b.B, b.Lines, b.Framing, b.Key, b.free = b.store[:0], 0, framing.Newline, 0, true
	b.unmark()
	p.memory.keepLocked(b, size)
	p.memory.grantLocked()
}

// Close ends the use of the pool, which must have no waiters any more. The pool no longer counts
// the buffers that it has handed out.
func (p *Pool) Close() {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	if i := slices.Index(p.memory.pools, p); i >= 0 {
		p.useLocked(-p.inUse)
		p.closed = true
		p.memory.pools = slices.Delete(p.memory.pools, i, i+1)
		p.memory.divideLocked()
	}
}

// fitsLocked reports whether a buffer of the class fits into the budget. Any buffer does if the
// pool has handed out none.
func (p *Pool) fitsLocked(class uint8) bool {
	size := int64(sizeOf(class))
	return p.inUse == 0 || size <= p.limit-p.inUse && p.committedWithLocked(size) <= p.memory.limit
}

// committedWithLocked returns what Memory.committed would be with size more bytes handed out.
func (p *Pool) committedWithLocked(size int64) int64 {
	return p.memory.committed - max(p.inUse, p.reserved) + max(p.inUse+size, p.reserved)
}

// useLocked counts n bytes as handed out, or as put back if n is negative.
func (p *Pool) useLocked(n int64) {
	if p.closed {
		return
	}
	p.memory.committed = p.committedWithLocked(n)
	p.inUse += n
	p.memory.used += n
}

// takeLocked counts a buffer of the class as handed out. It returns nil if none is free: then the
// caller makes one outside the lock, since new memory has to be cleared.
func (p *Pool) takeLocked(class uint8) *Buffer {
	size := int64(sizeOf(class))
	p.useLocked(size)
	b := p.memory.lists[class]
	if b == nil {
		p.memory.makeRoomLocked()
		return nil
	}
	p.memory.lists[class] = b.next
	p.memory.free -= size
	b.next, b.free = nil, false
	return b
}

// orNew returns b, or a new buffer of the class if b is nil.
func orNew(b *Buffer, class uint8) *Buffer {
	if b == nil {
		return newBuffer(class)
	}
	return b
}
