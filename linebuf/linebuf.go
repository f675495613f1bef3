// Package linebuf provides the types that the reading and the sending side share: buffers of whole
// lines, the pool that keeps all of them within one memory budget, and counts of lines and bytes.
//
// A buffer has one owner at a time. Sending it on a channel hands it over. The last owner puts it
// back, once, and does not touch it afterwards. [Pool.Share] makes several buffers of one, whose
// owners share the memory.
//
// Lines of which an [Issuer] keeps a copy have a [Receipt], which tells the issuer when they are no
// longer needed. Buffers hold it, and those made of others ([Pool.Share], [Pool.TryGetLike],
// [Buffer.Inherit]) take it over.
package linebuf

import (
	"math/bits"
	"time"

	"linesplit/internal/framing"
)

// Buffer holds bytes of one inbound connection. It is not safe for concurrent use: only its owner
// touches it.
type Buffer struct {
	// B is the content. Between reader and worker it is not empty and consists of whole lines. A
	// new buffer of the pool has len(B) == 0 and the capacity of its size class. The owner may
	// reslice B: Put restores it.
	B []byte
	// Lines is the number of lines in B.
	Lines int
	// Framing tells where the lines in B end, and is never Auto. Lines of other framings than
	// Newline may contain newlines.
	Framing framing.Framing
	// Read is the time at which the last byte of B was read. It has a monotonic clock reading, so
	// time.Since is exact.
	Read time.Time
	// Key is the hash of the key that all lines of the buffer have, if a later reader of the lines
	// needs it; otherwise 0.
	Key uint64
	// Origin marks the first line of B, and the others by their distance from it, if that is known:
	// B has all lines of its run from there on, in order, as far as it goes. If Runs returns more
	// than one, only those of the first are marked so.
	Origin Mark
	// Batch names the batch in which a connection sends the lines, or has sent them; zero: none
	// has.
	Batch Mark

	runs     []Run     // see Runs
	store    []byte    // all of the memory, however B has been resliced; nil for a view
	receipts []holding // nearly always empty; see Receipt
	next     *Buffer   // in the free list
	class    uint8     // size class; see sizeOf
	free     bool      // the buffer is in the pool; detects a second Put

	views   int      // guarded by Memory.mu: number of views of this buffer that are not put back
	base    *Buffer  // the buffer of which this is a view; nil for any other
	account *Account // the account that is charged for the memory, or nil
}

const (
	minShift   = 9 // the smallest class is 512 bytes
	numClasses = 40
)

// Count returns the number of lines in b and of their bytes.
func (b *Buffer) Count() Count { return Count{Lines: uint64(b.Lines), Bytes: uint64(len(b.B))} }

// ClassSize returns the capacity of a buffer of the given size: the next power of two, at least
// 512.
func ClassSize(size int) int {
	return sizeOf(classOf(size))
}

// classOf returns the smallest size class that holds size bytes.
func classOf(size int) uint8 {
	if size <= 1<<minShift {
		return 0
	}
	return uint8(bits.Len(uint(size-1)) - minShift)
}

// sizeOf returns the size of the buffers of a class, in bytes.
func sizeOf(class uint8) int {
	return 1 << (minShift + int(class))
}

func newBuffer(class uint8) *Buffer {
	store := make([]byte, sizeOf(class))
	adviseHuge(store)
	return &Buffer{B: store[:0], store: store, class: class}
}
