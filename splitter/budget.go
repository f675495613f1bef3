package splitter

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

// budget limits the memory of unfinished lines: all that connections hold while they wait for their
// senders. Each connection charges its buffer here, with its whole capacity.
//
// If the sum would exceed the limit, connections have to give memory back. Those whose buffers are
// twice as large as their lines need come first, and exchange them. Then lines are dropped, and the
// first is the one that has made no headway for the longest time. Only the connection's own
// goroutine can do either, so it is woken. The caller need not wait for that here: it waits in the
// pool, for the memory itself. A connection obeys whatever it is waiting for, except the channel
// and the gate before it.
//
// A line makes headway when a sixteenth of what it holds has come. A single byte now and then is
// none, so a sender that trickles does not keep its memory at the expense of one that writes.
type budget struct {
	start   time.Time
	limit   atomic.Int64
	charged atomic.Int64 // the sum of conn.charge
	awake   awakeBudget

	mu      sync.Mutex
	idlest  headwayHeap // all connections with a charge, except those asked; some others, too
	leaving int64       // what connections that were asked have yet to give back
}

// headwayShare is the part of its charge that has to come before a line has made headway.
const headwayShare = 16

// smallLineGrace is how much longer than others a sender with a small line may pause. While many
// senders write long lines at once, one that writes short ones would otherwise lose a line whenever
// the machine is busy and the rest of the line comes a moment late.
const smallLineGrace = 250 * time.Millisecond

// unfinished returns the limit for unfinished lines: a quarter of the memory. Windows may take half
// of it, handshakes an eighth and awake connections a sixteenth, and the rest is for lines on their
// way from one to the other. One line of the maximum length fits, unless that is more than half of
// the memory.
func unfinished(memory int64, maxLine int) int64 {
	return max(memory/4, min(memory/2, int64(linebuf.ClassSize(maxLine))))
}

// awakeShare is the part of the memory that awake connections may take. It has room for one at least.
const awakeShare = 16

// pressed reports whether connections should hold no more than their lines need.
func (b *budget) pressed() bool { return b.charged.Load() > b.limit.Load()/2 }

// now returns the time in the form of conn.headway.
func (b *budget) now(t time.Time) int64 { return int64(t.Sub(b.start)) }

// reserve replaces the charge for c's unfinished line. It returns false if the line is to be
// dropped instead. It never waits, and lowering the charge always succeeds.
func (b *budget) reserve(c *conn, charge int64) bool {
	more := charge - c.charge.Load() // only this goroutine changes c.charge
	if !b.tryCharge(more) && !b.evictFor(c, more) {
		return false
	}
	c.charge.Store(charge)
	if charge > 0 && (!c.listed.Load() || c.roomy() && !c.inFront.Load()) {
		b.list(c)
	}
	if more < 0 && c.asked.Load() {
		b.settle(c)
	}
	return true
}

// tryCharge adds more to the sum, and returns false if that would exceed the limit. Lowering the
// sum always succeeds.
func (b *budget) tryCharge(more int64) bool {
	for {
		old := b.charged.Load()
		if more > 0 && old+more > b.limit.Load() {
			return false
		}
		if b.charged.CompareAndSwap(old, old+more) {
			return true
		}
	}
}

// evictFor asks other connections to give memory back until the sum, plus more for c and without
// what they will give, is within the limit. It returns false if that is not enough, or if c itself
// has been asked.
func (b *budget) evictFor(c *conn, more int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.listed.Load() && c.at >= 0 { // c is not to be asked
		heap.Remove(&b.idlest, c.at)
		defer heap.Push(&b.idlest, c)
	}
	for !c.asked.Load() {
		if b.charged.Load()-b.leaving+more <= b.limit.Load() {
			b.charged.Add(more)
			return true
		}
		v := b.popIdlestLocked()
		if v == nil {
			break
		}
		v.leaving = v.charge.Load()
		if v.roomy() {
			v.leaving = v.spare.Load()
		}
		b.leaving += v.leaving
		v.evict()
	}
	return false
}

// roomy reports whether a smaller buffer would save half of the charge or more.
func (c *conn) roomy() bool {
	spare := c.spare.Load()
	return spare > 0 && 2*spare >= c.charge.Load()
}

// popIdlestLocked takes the connection that is to give memory back next out of the heap. It returns
// nil if no connection has a charge.
func (b *budget) popIdlestLocked() *conn {
	for len(b.idlest) > 0 {
		v := b.idlest[0]
		at, roomy := b.keyOf(v), v.roomy()
		if at > v.key || v.inFront.Load() && !roomy {
			v.key = at
			v.inFront.Store(roomy)
			heap.Fix(&b.idlest, 0)
			continue
		}
		heap.Pop(&b.idlest)
		if v.charge.Load() > 0 {
			return v
		}
		v.listed.Store(false)
		if v.charge.Load() > 0 { // reserve may have seen that it was listed
			v.listed.Store(true)
			return v
		}
	}
	return nil
}

// list puts c into the heap, or into its right place there.
func (b *budget) list(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.at >= 0:
		c.inFront.Store(c.roomy())
		heap.Fix(&b.idlest, c.at)
	case !c.listed.Load():
		c.listed.Store(true)
		b.pushLocked(c)
	}
}

// keyOf returns the time by which c is sorted: that of its last headway, or smallLineGrace later if
// its line is much smaller than the average.
func (b *budget) keyOf(c *conn) int64 {
	key, line := c.headway.Load(), c.charge.Load()-c.spare.Load()
	if 4*line*int64(len(b.idlest)) < b.charged.Load() {
		key += int64(smallLineGrace)
	}
	return key
}

func (b *budget) pushLocked(c *conn) {
	c.key = b.keyOf(c)
	c.inFront.Store(c.roomy())
	heap.Push(&b.idlest, c)
}

// wanted returns the bytes that c has been asked to give back.
func (b *budget) wanted(c *conn) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.leaving
}

// settle ends the request to c: it has been obeyed, or the line that it was about is gone.
func (b *budget) settle(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !c.asked.Swap(false) {
		return
	}
	b.leaving -= c.leaving
	c.leaving = 0
	b.pushLocked(c)
}

// forget takes c, which has ended and has no charge, out of the heap.
func (b *budget) forget(c *conn) {
	b.settle(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.listed.Swap(false) {
		heap.Remove(&b.idlest, c.at)
	}
}

// headwayHeap is a heap of connections, in the order in which they have to give memory back. Its
// order is that of conn.inFront and conn.key, which lag behind: popIdlestLocked catches up with those
// that come to the front.
type headwayHeap []*conn

func (h headwayHeap) Len() int { return len(h) }
func (h headwayHeap) Less(i, j int) bool {
	if front := h[i].inFront.Load(); front != h[j].inFront.Load() {
		return front
	}
	return h[i].key < h[j].key
}
func (h headwayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements [heap.Interface].
func (h *headwayHeap) Push(x any) {
	c := x.(*conn)
	c.at = len(*h)
	*h = append(*h, c)
}

// Pop implements [heap.Interface].
func (h *headwayHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.at = -1
	return c
}

// awakeBudget limits the memory of read buffers that connections hold while they wait in a read,
// besides their unfinished lines. Connections beyond that read into a small buffer.
type awakeBudget struct {
	limit   int64
	charged atomic.Int64
}

// reserve replaces the charge of one connection, which is held before. It returns held or charge,
// whichever is in force afterwards.
func (b *awakeBudget) reserve(held, charge int64) int64 {
	more := charge - held
	for more != 0 {
		old := b.charged.Load()
		if more > 0 && old+more > b.limit {
			return held
		}
		if b.charged.CompareAndSwap(old, old+more) {
			break
		}
	}
	return charge
}
