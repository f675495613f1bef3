// Package lane keeps lines that have the same key in order on their way to targets.
//
//	sender ─▶ Source ─┬─▶ Lane ─▶ worker ─▶ target a
//	sender ─▶ Source ─┼─▶ Lane ─▶ worker ─▶ target a
//	    scatters lines └─▶ Lane ─▶ worker ─▶ target b
//
// A [Lane] is the queue of one worker, which delivers its lines in order. Keys fall into slots by
// their hash, and a table of [Routes] gives each slot a lane. A [Source] scatters the lines of one
// sender to the lanes of their slots. It never waits: lines for a lane without room stay with it,
// and so hold up their sender.
//
// When targets come and go, slots move to other lanes. A slot moves only behind its own last line:
// from then on its lines wait aside, until the lane that had them has seen all lines confirmed that
// it was given before. Then they go to the new lane.
package lane

import (
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

// Lane is the queue of one worker. It is safe for concurrent use; one goroutine at a time takes
// lines from it.
type Lane struct {
	queue
	confirmed atomic.Uint64 // lines
	routes    *Routes
	wake      func(now bool)
	index     uint16 // in Routes.ways
}

// Pop returns the next buffer, which the caller owns from then on; nil if there is none. The
// caller delivers buffers in the order in which it takes them, and counts what is confirmed by
// Confirmed.
func (l *Lane) Pop() *linebuf.Buffer {
	b, wanted := l.pop(l.routes.limit.Load())
	if wanted {
		l.routes.announceRoom()
	}
	return l.routes.fit(b)
}

// fit returns b, or its lines in a buffer of their size: b was to hold more than has come.
func (r *Routes) fit(b *linebuf.Buffer) *linebuf.Buffer {
	if b == nil || 2*linebuf.ClassSize(len(b.B)) > cap(b.B) {
		return b
	}
	small := r.pool.TryGetLike(b, len(b.B))
	if small == nil {
		return b
	}
	small.B = append(small.B, b.B...)
	small.Lines, small.Read, small.Framing = b.Lines, b.Read, b.Framing
	small.MarkLike(b, 0)
	r.pool.Put(b)
	return small
}

// Confirmed returns the number of the lane's lines that are confirmed. The worker adds to it.
func (l *Lane) Confirmed() *atomic.Uint64 { return &l.confirmed }

// Stats are the present values of a lane.
type Stats struct {
	Queued linebuf.Count
	// FullSince is the time since when it has had no room for the lines of a sender, which it holds
	// up; zero if it holds up none.
	FullSince time.Time
}

// Stats returns the present values.
func (l *Lane) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{l.held, l.fullSince}
}

// queue holds buffers of whole lines, oldest first. Lines that come while others wait are copied
// behind them as far as there is room, so that a busy worker writes many at once.
type queue struct {
	lines atomic.Int64 // in it, for Empty

	mu        sync.Mutex // guards the fields below; held for a copy of some kilobytes at most
	buffers   []*linebuf.Buffer
	head      int // buffers[head:] are held
	mem       int64
	held      linebuf.Count
	put       uint64    // lines that were ever put in
	fullSince time.Time // a sender waits for room; zero: none does
}

// maxChunk is the size of the largest buffer, in bytes, that is made for more than the lines at
// hand.
const maxChunk = 64 << 10

// Empty reports whether there is no line in the queue.
func (q *queue) Empty() bool { return q.lines.Load() == 0 }

// full reports whether a sender waits for room already.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.fullSince.IsZero()
}

// hasRoomLocked reports whether more bytes of memory fit. A buffer that is larger than the whole
// queue may be is taken when there is nothing else in it.
func (q *queue) hasRoomLocked(more, limit int64, now time.Time) bool {
	if q.mem == 0 || q.mem+more <= limit {
		return true
	}
	if q.fullSince.IsZero() {
		q.fullSince = now
	}
	return false
}

// hasRoom reports whether the queue holds less than it may. What is put in then may exceed the
// limit, once for each sender.
func (q *queue) hasRoom(limit int64, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mem < limit {
		return true
	}
	if q.fullSince.IsZero() {
		q.fullSince = now
	}
	return false
}

// bound limits what is put into a queue.
type bound struct {
	limit int64 // bytes of memory that the queue may hold
	force bool  // exceed it: the caller has seen to it that there is room
}

// bufferLocked returns the newest buffer if size more bytes of from fit into it and its framing,
// key and receipts allow that, or otherwise a new one; nil if there is no room for a new one. The
// buffer holds the receipts of from. The memory comes from the pool without waiting: the limits of
// the queues bound it. A new buffer is a larger one behind others, since the worker is busy, and
// for a sender of many lines: more of them will come before the worker takes these.
func (q *queue) bufferLocked(pool *linebuf.Pool, from *linebuf.Buffer, size int, to bound) *linebuf.Buffer {
	n := size
	if len(from.B) >= fewBytes {
		n = max(size, min(8*size, maxChunk, int(to.limit/4)))
	}
	if !q.emptyLocked() {
		last := q.buffers[len(q.buffers)-1]
		if size <= cap(last.B)-len(last.B) && last.Framing == from.Framing && last.MayInherit(from) {
			last.HoldLike(from)
			return last
		}
		if last.Kept() == from.Kept() && last.Key == from.Key {
			n = max(size, min(2*cap(last.B), maxChunk, int(to.limit/4)))
		}
	}
	if !to.force && !q.hasRoomLocked(int64(linebuf.ClassSize(n)), to.limit, from.Read) {
		return nil
	}
	b := pool.MustGetLike(from, n)
	b.Read, b.Framing = from.Read, from.Framing
	q.pushLocked(b)
	return b
}

func (q *queue) emptyLocked() bool { return q.head == len(q.buffers) }

// copyIn copies the lines of a share behind the newest. It reports whether there was room, and how
// many bytes the queue holds then.
func (q *queue) copyIn(pool *linebuf.Pool, from *linebuf.Buffer, s *share, pieces []piece, within bound) (uint64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	to := q.bufferLocked(pool, from, s.size, within)
	if to == nil {
		return 0, false
	}
	for i := s.first; i >= 0; i = pieces[i].next {
		to.B = append(to.B, from.B[pieces[i].from:pieces[i].to]...)
	}
	to.Lines += s.lines
	q.countLocked(s.lines, s.size)
	return q.held.Bytes, true
}

// maxCopy is the size of the largest buffer, in bytes, whose lines are copied behind others: single
// lines are not to hold a buffer each.
const maxCopy = 4 << 10

// take puts b itself into the queue, or copies it if it is small. It reports whether there was
// room, and how many bytes the queue holds then. If there was, b has another owner.
func (q *queue) take(pool *linebuf.Pool, b *linebuf.Buffer, within bound) (uint64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, size := b.Lines, len(b.B)
	if size <= maxCopy && !q.emptyLocked() {
		to := q.bufferLocked(pool, b, size, within)
		if to == nil {
			return 0, false
		}
		to.B = append(to.B, b.B...)
		to.Lines += lines
		pool.Put(b)
	} else {
		if !within.force && !q.hasRoomLocked(b.Memory(), within.limit, b.Read) {
			return 0, false
		}
		q.pushLocked(b)
	}
	q.countLocked(lines, size)
	return q.held.Bytes, true
}

func (q *queue) pushLocked(b *linebuf.Buffer) {
	if q.head > 0 && len(q.buffers) == cap(q.buffers) {
		n := copy(q.buffers, q.buffers[q.head:])
		clear(q.buffers[n:])
		q.buffers, q.head = q.buffers[:n], 0
	}
	q.buffers = append(q.buffers, b)
	q.mem += b.Memory()
}

func (q *queue) countLocked(lines, size int) {
	q.held.Add(linebuf.Count{Lines: uint64(lines), Bytes: uint64(size)})
	q.put += uint64(lines)
	q.lines.Add(int64(lines))
}

// pop returns the oldest buffer, nil if there is none, and whether a sender can go on that has
// waited for room. It waits until half of the queue is free, so that it does not wake up for each
// buffer.
func (q *queue) pop(limit int64) (b *linebuf.Buffer, wanted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.emptyLocked() {
		return nil, false
	}
	b = q.buffers[q.head]
	q.buffers[q.head] = nil
	if q.head++; q.head == len(q.buffers) {
		q.buffers, q.head = q.buffers[:0], 0
	}
	q.mem -= b.Memory()
	q.held.Sub(b.Count())
	q.lines.Add(int64(-b.Lines))
	if !q.fullSince.IsZero() && q.mem <= limit/2 {
		q.fullSince, wanted = time.Time{}, true
	}
	return b, wanted
}

// moveTo moves all buffers behind those of another queue, whatever room it has.
func (q *queue) moveTo(to *queue) {
	for b, _ := q.pop(0); b != nil; b, _ = q.pop(0) {
		to.mu.Lock()
		to.pushLocked(b)
		to.countLocked(b.Lines, len(b.B))
		to.mu.Unlock()
	}
}

func (q *queue) count() (held linebuf.Count, put uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held, q.put
}
