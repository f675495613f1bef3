package linebuf

import (
	"math"
	"sync"
)

// maxFree limits the free lists, in bytes. Buffers beyond it go to the garbage collector, so that
// the memory of a burst is freed after it.
const maxFree = 32 << 20

// Memory is a budget of bytes that pools share. Half of it is reserved for the pools in equal
// parts, so that none of them can starve the others. The other half goes to the pools that ask
// first. A single pool has all of the budget. Memory is safe for concurrent use.
//
// There is one free list for each size class, newest buffer first, since that one is still in the
// cache. Buffers in use and free buffers together stay within the budget, so that the memory of the
// process does too. Nothing allocates in steady state.
type Memory struct {
	limit   int64 // bytes
	maxFree int64 // bytes in the free lists

	mu        sync.Mutex // guards the fields below and those of the pools; never held across a blocking call
	pools     []*Pool
	turn      int   // index in pools of the pool whose waiters are served first
	waiting   int   // the sum of Pool.nWaiters
	used      int64 // the sum of Pool.inUse
	committed int64 // the sum of the larger of Pool.inUse and Pool.reserved
	free      int64 // bytes in the free lists
	lists     [numClasses]*Buffer
}

// NewMemory returns a budget of limit bytes. A limit below 1 means no limit.
func NewMemory(limit int64) *Memory {
	if limit < 1 {
		limit = math.MaxInt64
	}
	return &Memory{limit: limit, maxFree: min(maxFree, limit)}
}

// Part returns the bytes that are reserved for a pool, out of a budget of total bytes that the
// given number of pools share. limit is the most that the pool may hand out.
func Part(total, limit int64, pools int) int64 {
	if pools > 1 {
		total /= 2 * int64(pools)
	}
	return min(total, limit)
}

// NewPool returns a pool that hands out at most limit bytes of m at one time. A limit below 1 means
// that of m. The parts that are reserved for other pools become smaller. The caller closes the pool
// to give its part back.
func (m *Memory) NewPool(limit int64) *Pool {
	if limit < 1 {
		limit = m.limit
	}
	p := &Pool{memory: m, limit: limit}
	p.waiters.next, p.waiters.prev = &p.waiters, &p.waiters
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = append(m.pools, p)
	m.divideLocked()
	return p
}

// divideLocked reserves a part of the budget for each pool.
func (m *Memory) divideLocked() {
	m.committed, m.turn = 0, 0
	for _, p := range m.pools {
		p.reserved = Part(m.limit, p.limit, len(m.pools))
		m.committed += max(p.inUse, p.reserved)
	}
	m.grantLocked()
}

// grantLocked serves the waiters of all pools, beginning with another pool each time.
func (m *Memory) grantLocked() {
	if m.waiting == 0 {
		return
	}
	m.turn = (m.turn + 1) % len(m.pools)
	for i := range m.pools {
		m.pools[(m.turn+i)%len(m.pools)].serveLocked()
	}
}

// keepLocked puts a buffer of size bytes on its free list, if there is room.
func (m *Memory) keepLocked(b *Buffer, size int64) {
	if m.free+size <= m.maxFree && m.used+m.free+size <= m.limit {
		b.next = m.lists[b.class]
		m.lists[b.class] = b
		m.free += size
	}
}

// makeRoomLocked drops free buffers, the largest first, until buffers in use and free buffers
// together fit into the budget.
func (m *Memory) makeRoomLocked() {
	for class := numClasses - 1; class >= 0 && m.free > m.limit-m.used; class-- {
		for m.lists[class] != nil && m.free > m.limit-m.used {
			m.lists[class] = m.lists[class].next
			m.free -= int64(sizeOf(uint8(class)))
		}
	}
}
