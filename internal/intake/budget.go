package intake

import (
	"container/heap"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

// budget limits the memory of unfinished lines, which is all memory that streams hold while they
// wait for their senders. It charges each stream for its buffer, with the whole capacity.
//
// If the sum would exceed the limit, the budget asks streams to give memory back. Streams whose
// buffers are at least twice as large as their lines need come first, and move their lines into
// smaller buffers. Then lines are dropped, beginning with the line that has made no headway for the
// longest time. Only the stream's own driver can do either, so Driver.Evict wakes it. The stream
// that needs memory does not wait for that here but in the pool, for the memory itself. A stream
// that is asked obeys whatever its driver waits for, except the hand-over and the gate before it.
//
// A line makes headway when a sixteenth of its charge has come. A single byte now and then is no
// headway, so a sender that trickles does not keep its memory at the expense of one that writes.
type budget struct {
	start   time.Time    // see now
	limit   atomic.Int64 // bytes
	charged atomic.Int64 // the sum of Stream.charge
	awake   awakeBudget

	mu      sync.Mutex  // guards the fields below
	idlest  headwayHeap // streams to ask: all with a charge that are not asked already, and some others
	leaving int64       // bytes that streams that were asked have yet to give back
}

// A line has made headway when 1/headwayShare of its charge has come.
const headwayShare = 16

// smallLineGrace is the time by which a sender with a small line may pause longer than others.
// While many senders write long lines at once, a sender of short ones would otherwise lose a line
// whenever the machine is busy and the rest of the line comes a moment late.
const smallLineGrace = 250 * time.Millisecond

// unfinished returns the limit for unfinished lines, in bytes: a quarter of the memory. Windows may
// take half of the memory, handshakes an eighth, and awake streams a sixteenth. The rest is for
// lines on their way from streams to windows. If maxLine needs more than a quarter, the limit is
// its size, up to half of the memory.
func unfinished(memory int64, maxLine int) int64 {
	return max(memory/4, min(memory/2, int64(linebuf.ClassSize(maxLine))))
}

// Awake streams may take 1/awakeShare of the memory, or a read buffer if that is more.
const awakeShare = 16

// pressed reports whether streams should hold no more than their lines need.
func (b *budget) pressed() bool { return b.charged.Load() > b.limit.Load()/2 }

// now returns t as nanoseconds since start.
func (b *budget) now(t time.Time) int64 { return int64(t.Sub(b.start)) }

// reserve replaces the charge of s for its unfinished line. It returns false if s has to drop the
// line instead. It never waits, and always succeeds in lowering the charge.
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

// evictFor asks other streams to give memory back until the sum, plus more for s and less the bytes
// that were asked for, is within the limit. It returns false if that is not enough, or if s itself
// has been asked for its line. If s has been asked for spare room, which it uses now, evictFor
// withdraws that and asks others instead.
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

// rebalance asks streams to give memory back while the sum, less the bytes that were asked for,
// exceeds the limit. That happens if a stream that was asked for spare room has used it.
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

// charged is the part of a Stream that the budget uses.
type charged struct {
	// Only the driver of the stream writes these.
	fresh   int          // bytes that have come since the line last made headway
	charge  atomic.Int64 // bytes that budget charges for the unfinished line
	spare   atomic.Int64 // bytes of charge that a smaller buffer would save
	headway atomic.Int64 // when the line last made headway, in the form of budget.now

	// Written with budget.mu held.
	asked     atomic.Bool  // budget wants memory back
	listed    atomic.Bool  // in budget.idlest, or asked
	inFront   atomic.Bool  // sorted before all streams of budget.idlest without inFront
	graceUpTo atomic.Int64 // key is too high once the line has more bytes than that

	// Guarded by budget.mu.
	key       int64 // the time by which the stream is sorted; see rankLocked
	at        int   // index in budget.idlest; -1 outside it
	leaving   int64 // bytes that the stream was asked for
	keepsLine bool  // the stream was asked for spare room only
}

// roomy reports whether a smaller buffer would save half of the charge or more.
func (s *Stream) roomy() bool {
	spare := s.spare.Load()
	return spare > 0 && 2*spare >= s.charge.Load()
}

// line returns the bytes that the unfinished line needs.
func (s *Stream) line() int64 { return s.charge.Load() - s.spare.Load() }

// popIdlestLocked takes the next stream to ask out of the heap. It returns nil if no stream in the
// heap has a charge.
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

// list puts s into the heap, or moves it to its place there.
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

// keyOf returns the time by which to sort s, and the largest size of its line for which that time
// holds. It is the time of the last headway, or smallLineGrace later if the line is much smaller
// than the average.
func (b *budget) keyOf(s *Stream) (key, upTo int64) {
	key, upTo = s.headway.Load(), (b.charged.Load()-1)/(4*max(1, int64(len(b.idlest))))
	if s.line() > upTo {
		return key, math.MaxInt64
	}
	return key + int64(smallLineGrace), upTo
}

// rankLocked updates the fields by which s is sorted. The caller then moves s to its place.
func (b *budget) rankLocked(s *Stream) {
	key, upTo := b.keyOf(s)
	s.key = key
	s.graceUpTo.Store(upTo)
	s.inFront.Store(s.roomy())
}

// pushLocked puts s into the heap.
func (b *budget) pushLocked(s *Stream) {
	b.rankLocked(s)
	heap.Push(&b.idlest, s)
}

// wanted returns the bytes that s has been asked to give back, and whether they are only spare
// room.
func (b *budget) wanted(s *Stream) (bytes int64, keepsLine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.leaving, s.keepsLine
}

// settle ends the request to s: s has obeyed it, or the line that it was about is gone.
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

// headwayHeap is a heap of streams in the order in which the budget asks them: by inFront and key.
// These fields may be out of date; popIdlestLocked updates those of the stream at the front.
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

// awakeBudget limits the memory of the read buffers that awake streams hold while they wait in a
// read, besides their unfinished lines; see held.go.
type awakeBudget struct {
	limit   int64        // bytes
	charged atomic.Int64 // bytes
}

// reserve replaces the charge of a stream, held, by another one, unless that would exceed the
// limit. It returns the charge that is in force afterwards.
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
