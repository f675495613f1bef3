package linebuf

import (
	"context"

	"linesplit/internal/framing"
)

// Pool hands out buffers within a budget of bytes. It is safe for concurrent use.
//
// It keeps free lists of its own instead of a sync.Pool; see [Memory].
type Pool struct {
	*Memory

	limit    int64  // of inUse
	reserved int64  // guarded by mu: the part of the memory that no other pool gets
	inUse    int64  // guarded by mu: bytes handed out
	waiters  waiter // guarded by mu: the ring's sentinel; its next has waited longest
	nWaiters int    // guarded by mu
	closed   bool   // guarded by mu: nothing is counted any more

	freeViews *Buffer // guarded by mu: list
	nViews    int     // guarded by mu: its length
}

// NewPool returns a pool with a budget of limit bytes that it shares with no other. A buffer counts
// with its capacity from the moment it is handed out until it is put back. A limit below 1 means no
// limit.
func NewPool(limit int64) *Pool { return NewMemory(limit).NewPool(limit) }

// Limit returns the bytes that the pool can count on: its budget, or its part of a shared one.
// Parts of it are limits for what lines in one state may hold.
func (p *Pool) Limit() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reserved
}

// Bound returns the bytes that the pool may hand out at the moment: other pools that need less than
// their parts leave room.
func (p *Pool) Bound() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(p.limit, max(p.reserved, p.Memory.limit-(p.committed-max(p.inUse, p.reserved))))
}

// InUse returns how many bytes are handed out at the moment. MustGet may raise it above Limit.
func (p *Pool) InUse() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inUse
}

// Get returns an empty buffer of at least size bytes, which the caller owns. While the budget has
// no room for it, Get waits; waiters are served first in, first out. The only error is ctx's, and
// it comes without a buffer. A size above the whole budget is granted when nothing else is in use.
func (p *Pool) Get(ctx context.Context, size int) (*Buffer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b := p.TryGet(size); b != nil {
		return b, nil
	}
	return p.wait(ctx, classOf(size))
}

// TryGet is Get without waiting: it returns nil if the budget has no room, or if other callers
// already wait for room.
func (p *Pool) TryGet(size int) *Buffer {
	class := classOf(size)
	p.mu.Lock()
	if p.nWaiters > 0 || !p.fitsLocked(class) {
		p.mu.Unlock()
		return nil
	}
	b := p.takeLocked(class)
	p.mu.Unlock()
	return orNew(b, class)
}

// MustGet is Get for the few small buffers that are needed before larger ones can be put back. It
// neither waits nor fails, and exceeds the budget if it has to.
func (p *Pool) MustGet(size int) *Buffer {
	class := classOf(size)
	p.mu.Lock()
	b := p.takeLocked(class)
	p.mu.Unlock()
	return orNew(b, class)
}

// Put gives back b, which the caller owns until then. Putting nil does nothing. Putting the same
// buffer twice panics, because by then it may have another owner.
func (p *Pool) Put(b *Buffer) {
	if b == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
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
	b.B, b.Lines, b.Framing, b.free = b.store[:0], 0, framing.Newline, true
	p.keepLocked(b, size)
	p.grantLocked()
}

func (p *Pool) fitsLocked(class uint8) bool {
	size := int64(sizeOf(class))
	return p.inUse == 0 || size <= p.limit-p.inUse && p.committedWithLocked(size) <= p.Memory.limit
}

// committedWithLocked returns what Memory.committed would be with size more bytes handed out.
func (p *Pool) committedWithLocked(size int64) int64 {
	return p.committed - max(p.inUse, p.reserved) + max(p.inUse+size, p.reserved)
}

// useLocked counts n bytes as handed out, or as put back if n is negative.
func (p *Pool) useLocked(n int64) {
	if p.closed {
		return
	}
	p.committed = p.committedWithLocked(n)
	p.inUse += n
	p.used += n
}

// takeLocked counts a buffer of the class as handed out. It returns nil if none is free: the caller
// then makes one outside the lock, since fresh memory has to be cleared.
func (p *Pool) takeLocked(class uint8) *Buffer {
	size := int64(sizeOf(class))
	p.useLocked(size)
	b := p.lists[class]
	if b == nil {
		p.makeRoomLocked()
		return nil
	}
	p.lists[class] = b.next
	p.free -= size
	b.next, b.free = nil, false
	return b
}

func orNew(b *Buffer, class uint8) *Buffer {
	if b == nil {
		return newBuffer(class)
	}
	return b
}
