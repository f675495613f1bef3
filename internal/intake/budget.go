package intake

import (
	"container/heap"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

// budget limits the memory of unfinished lines: all that streams hold while they wait for their
// senders. Each stream charges its buffer here, with its whole capacity.
//
// If the sum would exceed the limit, streams have to give memory back. Those whose buffers are
// twice as large as their lines need come first, and exchange them. Then lines are dropped,
// beginning with the one that has made no headway for the longest time. Only the stream's own
// driver can do either, so it is woken. The stream that needs memory does not wait for that here
// but in the pool, for the memory itself. A stream that is asked obeys whatever it is waiting for,
// except the hand-over and the gate before it.
//
// A line makes headway when a sixteenth of what it holds has come. A single byte now and then is
// none, so a sender that trickles does not keep its memory at the expense of one that writes.
type budget struct {
	start   time.Time
	limit   atomic.Int64
	charged atomic.Int64 // the sum of Stream.charge
	awake   awakeBudget

	mu      sync.Mutex
	idlest  headwayHeap // all streams with a charge, except those asked; some others, too
	leaving int64       // what streams that were asked have yet to give back
}

// A line has made headway when 1/headwayShare of its charge has come.
const headwayShare = 16

// smallLineGrace is how much longer than others a sender with a small line may pause. While many
// senders write long lines at once, one that writes short ones would otherwise lose a line whenever
// the machine is busy and the rest of the line comes a moment late.
const smallLineGrace = 250 * time.Millisecond

// unfinished returns the limit for unfinished lines: a quarter of the memory. Windows may take half
// of it, handshakes an eighth and awake streams a sixteenth, and the rest is for lines on their way
// from one to the other. One line of the maximum length fits, unless that is more than half of the
// memory.
func unfinished(memory int64, maxLine int) int64 {
	return max(memory/4, min(memory/2, int64(linebuf.ClassSize(maxLine))))
}

// Awake streams may take 1/awakeShare of the memory, or a read buffer if that is more.
const awakeShare = 16

// pressed reports whether streams should hold no more than their lines need.
func (b *budget) pressed() bool { return b.charged.Load() > b.limit.Load()/2 }

// now returns the time in the form of Stream.headway.
func (b *budget) now(t time.Time) int64 { return int64(t.Sub(b.start)) }

// reserve replaces the charge for s's unfinished line. It returns false if the line is to be
// dropped instead. It never waits, and lowering the charge always succeeds.
func (b *budget) reserve(s *Stream, charge int64) bool {
	more := charge - s.charge.Load() // only its owner changes s.charge
	if !b.tryCharge(more) && !b.evictFor(s, more) {
		return false
	}
	s.charge.Store(charge)
	if charge > 0 && (!s.listed.Load() || s.roomy() && !s.inFront.Load() || s.line() > s.graceUpTo.Load()) {
		b.list(s)
	}
	if more < 0 && s.asked.Load() {
		b.settle(s)
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

// evictFor asks other streams to give memory back until the sum, plus more for s and without what
// they will give, is within the limit. It returns false if that is not enough, or if s itself has
// been asked for its line. A request for spare room that s uses now is void: others are asked
// instead.
func (b *budget) evictFor(s *Stream, more int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.keepsLine && s.asked.Load() {
		b.settleLocked(s)
	}
	if s.listed.Load() && s.at >= 0 { // s is not to be asked
		heap.Remove(&b.idlest, s.at)
		defer heap.Push(&b.idlest, s)
	}
	for !s.asked.Load() {
		if b.charged.Load()-b.leaving+more <= b.limit.Load() {
			b.charged.Add(more)
			return true
		}
		if !b.askIdlestLocked() {
			break
		}
	}
	return false
}

// rebalance asks streams to give memory back while the sum, without what they will give, exceeds
// the limit: a stream that was asked for spare room has used it meanwhile.
func (b *budget) rebalance() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.charged.Load()-b.leaving > b.limit.Load() && b.askIdlestLocked() {
	}
}

// askIdlestLocked asks the next stream to give memory back. It returns false if there is none.
func (b *budget) askIdlestLocked() bool {
	v := b.popIdlestLocked()
	if v == nil {
		return false
	}
	v.leaving, v.keepsLine = v.charge.Load(), v.roomy()
	if v.keepsLine {
		v.leaving = v.spare.Load()
	}
	b.leaving += v.leaving
	v.asked.Store(true)
	v.driver.Evict()
	return true
}

// charged is the part of a stream that the budget knows. Its owner writes the fields that are not
// guarded.
type charged struct {
	fresh   int          // bytes that have come since the line last made headway
	charge  atomic.Int64 // bytes that budget charges for the unfinished line
	spare   atomic.Int64 // those of them that a smaller buffer would save
	headway atomic.Int64 // when the line last made headway, see budget
	asked   atomic.Bool  // budget wants memory back
	listed  atomic.Bool  // in budget.idlest, or asked; guarded by budget.mu for writing
	inFront atomic.Bool  // before all that are not in budget.idlest; guarded by budget.mu for writing
	key     int64        // guarded by budget.mu: the time by which it is sorted, see rankLocked
	// key is too high once the line has more bytes than that; guarded by budget.mu for writing
	graceUpTo atomic.Int64
	at        int   // guarded by budget.mu: the index in budget.idlest, -1 outside it
	leaving   int64 // guarded by budget.mu: the bytes asked for

	keepsLine bool // guarded by budget.mu: it was asked for spare room only
}

// roomy reports whether a smaller buffer would save half of the charge or more.
func (s *Stream) roomy() bool {
	spare := s.spare.Load()
	return spare > 0 && 2*spare >= s.charge.Load()
}

// line returns the bytes that the unfinished line needs.
func (s *Stream) line() int64 { return s.charge.Load() - s.spare.Load() }

// popIdlestLocked takes the stream that is to give memory back next out of the heap. It returns
// nil if no stream has a charge.
func (b *budget) popIdlestLocked() *Stream {
	for len(b.idlest) > 0 {
		v := b.idlest[0]
		if at, _ := b.keyOf(v); at > v.key || v.inFront.Load() && !v.roomy() {
			b.rankLocked(v)
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

// list puts s into the heap, or into its right place there.
func (b *budget) list(s *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s.at >= 0:
		b.rankLocked(s)
		heap.Fix(&b.idlest, s.at)
	case !s.listed.Load():
		s.listed.Store(true)
		b.pushLocked(s)
	}
}

// keyOf returns the time by which s is to be sorted, and the size of the line up to which that
// holds. The time is that of the last headway, or smallLineGrace later if the line is much smaller
// than the average.
func (b *budget) keyOf(s *Stream) (key, upTo int64) {
	key, upTo = s.headway.Load(), (b.charged.Load()-1)/(4*max(1, int64(len(b.idlest))))
	if s.line() > upTo {
		return key, math.MaxInt64
	}
	return key + int64(smallLineGrace), upTo
}

// rankLocked brings up to date what s is sorted by. The caller then puts it into its place.
func (b *budget) rankLocked(s *Stream) {
	key, upTo := b.keyOf(s)
	s.key = key
	s.graceUpTo.Store(upTo)
	s.inFront.Store(s.roomy())
}

func (b *budget) pushLocked(s *Stream) {
	b.rankLocked(s)
	heap.Push(&b.idlest, s)
}

// wanted returns the bytes that s has been asked to give back, and whether only spare room was
// meant.
func (b *budget) wanted(s *Stream) (bytes int64, keepsLine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.leaving, s.keepsLine
}

// settle ends the request to s: it has been obeyed, or the line that it was about is gone.
func (b *budget) settle(s *Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settleLocked(s)
}

func (b *budget) settleLocked(s *Stream) {
	if !s.asked.Swap(false) {
		return
	}
	b.leaving -= s.leaving
	s.leaving = 0
	b.pushLocked(s)
}

// forget takes s, which has ended and has no charge, out of the heap.
func (b *budget) forget(s *Stream) {
	b.settle(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.listed.Swap(false) {
		heap.Remove(&b.idlest, s.at)
	}
}

// headwayHeap is a heap of streams, in the order in which they have to give memory back. That is
// the order of inFront and key, which lag behind: popIdlestLocked brings those up to date that come
// to the front.
type headwayHeap []*Stream

// Len implements [heap.Interface].
func (h headwayHeap) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h headwayHeap) Less(i, j int) bool {
	if front := h[i].inFront.Load(); front != h[j].inFront.Load() {
		return front
	}
	return h[i].key < h[j].key
}

// Swap implements [heap.Interface].
func (h headwayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements [heap.Interface].
func (h *headwayHeap) Push(x any) {
	s := x.(*Stream)
	s.at = len(*h)
	*h = append(*h, s)
}

// Pop implements [heap.Interface].
func (h *headwayHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.at = -1
	return s
}

// awakeBudget limits the memory of read buffers that streams hold while they wait in a read,
// besides their unfinished lines. Streams beyond that read into a small buffer.
type awakeBudget struct {
	limit   int64
	charged atomic.Int64
}

// reserve replaces the charge of one stream, which is held before. It returns held or charge,
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
