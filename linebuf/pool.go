package linebuf

import (
	"context"
	"math"
	"sync"
)

// maxFree limits the free lists, in bytes. Buffers beyond it go to the garbage collector, so that a
// burst does not take memory for ever.
const maxFree = 32 << 20

// Pool hands out buffers within a budget of bytes. It is safe for concurrent use.
//
// It keeps its own free lists instead of a sync.Pool. There is one list per size class, newest
// buffer first, since that one is still in the cache. Buffers in use and free buffers together stay
// within the budget, so that the memory of the process does too. Nothing allocates in steady state.
type Pool struct {
	limit   int64
	maxFree int64

	mu       sync.Mutex // never held across a blocking call
	inUse    int64      // bytes handed out
	free     int64      // bytes on the free lists
	lists    [numClasses]*Buffer
	waiters  waiter // the ring's sentinel; its next has waited longest
	nWaiters int
}

// NewPool returns a pool with a budget of limit bytes. A buffer counts with its capacity from the
// moment it is handed out until it is put back. A limit below 1 means no limit.
func NewPool(limit int64) *Pool {
	if limit < 1 {
		limit = math.MaxInt64
	}
	p := &Pool{limit: limit, maxFree: min(maxFree, limit)}
	p.waiters.next, p.waiters.prev = &p.waiters, &p.waiters
	return p
}

// Limit returns the budget in bytes.
func (p *Pool) Limit() int64 { return p.limit }

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
	if b.free {
		panic("linebuf: a buffer was put back twice")
	}
	size := int64(len(b.store))
	p.inUse -= size
	b.B, b.Lines, b.free = b.store[:0], 0, true
	if p.free+size <= p.maxFree && p.inUse+p.free+size <= p.limit {
		b.next = p.lists[b.class]
		p.lists[b.class] = b
		p.free += size
	}
	p.grantLocked()
}

func (p *Pool) fitsLocked(class uint8) bool {
	size := int64(sizeOf(class))
	return p.inUse == 0 || size <= p.limit-p.inUse
}

// takeLocked counts a buffer of the class as handed out. It returns nil if none is free: the caller
// then makes one outside the lock, since fresh memory has to be cleared.
func (p *Pool) takeLocked(class uint8) *Buffer {
	size := int64(sizeOf(class))
	p.inUse += size
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

// makeRoomLocked leaves free buffers to the garbage collector, the largest first, until buffers in
// use and free buffers together fit into the budget.
func (p *Pool) makeRoomLocked() {
	for class := numClasses - 1; class >= 0 && p.free > p.limit-p.inUse; class-- {
		for p.lists[class] != nil && p.free > p.limit-p.inUse {
			p.lists[class] = p.lists[class].next
			p.free -= int64(sizeOf(uint8(class)))
		}
	}
}

func orNew(b *Buffer, class uint8) *Buffer {
	if b == nil {
		return newBuffer(class)
	}
	return b
}
