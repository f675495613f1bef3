// Package linebuf is what the reading and the sending side share: buffers of whole lines, and the pool that
// keeps all of them within one memory budget.
//
// A buffer has one owner at a time. Sending it on a channel hands it over; whoever needs it no longer puts it
// back, once, and does not touch it afterwards.
package linebuf

import (
	"math/bits"
	"time"
)

// Buffer holds bytes of one inbound connection; on the channel between reader and worker these are whole lines.
// It is not safe for concurrent use: its owner alone touches it.
type Buffer struct {
	// B is the content. Between reader and worker it is not empty and ends in '\n'. A buffer fresh from the pool
	// has len(B) == 0 and the capacity of its size class. The owner may slice it as it likes: Put restores it.
	B []byte
	// Lines is the number of newlines in B.
	Lines int
	// Read is when the last byte of B was read. It carries the monotonic clock, so that time.Since is exact.
	Read time.Time

	store []byte  // the whole of the memory, whatever became of B
	next  *Buffer // the one below on its free list
	class uint8
	free  bool // lies in the pool: tells a second Put
}

const (
	minShift   = 9 // the smallest class is 512 bytes
	numClasses = 40
)

// ClassSize returns the capacity of a buffer that is asked for with size: the next power of two, 512 at least.
func ClassSize(size int) int {
	return sizeOf(classOf(size))
}

func classOf(size int) uint8 {
	if size <= 1<<minShift {
		return 0
	}
	return uint8(bits.Len(uint(size-1)) - minShift)
}

func sizeOf(class uint8) int {
	return 1 << (minShift + int(class))
}

func newBuffer(class uint8) *Buffer {
	store := make([]byte, sizeOf(class))
	adviseHuge(store)
	return &Buffer{B: store[:0], store: store, class: class}
}
