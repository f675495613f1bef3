package intake

import (
	"time"

	"linesplit/linebuf"
)

// Shared is the pool and the budget that Streams share. It is safe for concurrent use.
type Shared struct {
	pool     *linebuf.Pool
	readSize int // of a stream's first read, in bytes
	maxRead  int // of the largest read, in bytes
	budget   budget
}

// NewShared returns the state of streams that take their buffers from pool. Reads have room for
// readSize bytes, a power of two, and for up to maxRead bytes while they fill it. The caller calls
// SetMaxLine before it makes the first stream.
func NewShared(pool *linebuf.Pool, readSize, maxRead int, now time.Time) *Shared {
	h := &Shared{pool: pool, readSize: readSize, maxRead: max(readSize, maxRead)}
	h.budget.start = now
	h.budget.awake.limit = max(pool.Limit()/awakeShare, int64(h.maxRead))
	return h
}

// SetMaxLine sets the limit for unfinished lines, which depends on the length of the longest line
// in bytes. The pool's budget should be at least four times that, and four times the size of a
// read.
func (h *Shared) SetMaxLine(maxLine int) { h.budget.limit.Store(unfinished(h.pool.Limit(), maxLine)) }

// Usage is the memory that streams hold, with its limits, in bytes.
type Usage struct {
	Unfinished, UnfinishedMax int64 // of unfinished lines
	Awake, AwakeMax           int64 // of the read buffers of awake streams
}

// Usage returns the present values.
func (h *Shared) Usage() Usage {
	b := &h.budget
	return Usage{b.charged.Load(), b.limit.Load(), b.awake.charged.Load(), b.awake.limit}
}
