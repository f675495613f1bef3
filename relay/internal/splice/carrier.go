package splice

import (
	"sync"
	"sync/atomic"
)

const (
	smallBuffer  = 4 << 10  // for reads that hold a buffer while they wait, and beyond maxBuffers
	recordBuffer = 16 << 10 // where a side speaks TLS: a read returns one record at the most
	largeBuffer  = 32 << 10
	// maxBuffers limits the bytes in buffers that are not small: a flow holds its buffer for as
	// long as its receiver takes nothing. Beyond the limit, flows get small buffers.
	maxBuffers = 16 << 20
)

// Carrier holds the buffers and pipes that flows share.
type Carrier struct {
	small, record, large sync.Pool    // of *[smallBuffer]byte, *[recordBuffer]byte, *[largeBuffer]byte
	room                 atomic.Int64 // what is left of maxBuffers
	pipes                pipes
}

// NewCarrier returns a Carrier that holds no buffers or pipes yet.
func NewCarrier() *Carrier {
	c := &Carrier{}
	c.small.New = func() any { return new([smallBuffer]byte) }
	c.record.New = func() any { return new([recordBuffer]byte) }
	c.large.New = func() any { return new([largeBuffer]byte) }
	c.room.Store(maxBuffers)
	c.pipes.init()
	return c
}

// buffer returns a buffer of the given length, which is one of the constants, or a small one if
// there is no room.
func (c *Carrier) buffer(size int) []byte {
	if size > smallBuffer && c.room.Add(-int64(size)) < 0 {
		c.room.Add(int64(size))
		size = smallBuffer
	}
	switch size {
	case largeBuffer:
		return c.large.Get().(*[largeBuffer]byte)[:]
	case recordBuffer:
		return c.record.Get().(*[recordBuffer]byte)[:]
	default:
		return c.small.Get().(*[smallBuffer]byte)[:]
	}
}

// readSize returns how many bytes an event loop may read at once: so many that keep has room for
// them if the receiver takes none. Several loops may see the same room, which may then fall below 0
// by a buffer for each of them.
func (c *Carrier) readSize() int {
	if c.room.Load() < largeBuffer {
		return smallBuffer
	}
	return largeBuffer
}

// keep returns a buffer that begins with a copy of b, of which there are at most largeBuffer bytes.
func (c *Carrier) keep(b []byte) (buf []byte) {
	if len(b) <= smallBuffer {
		buf = c.small.Get().(*[smallBuffer]byte)[:]
	} else {
		c.room.Add(-largeBuffer)
		buf = c.large.Get().(*[largeBuffer]byte)[:]
	}
	copy(buf, b)
	return buf
}

// free takes a buffer back.
func (c *Carrier) free(b []byte) {
	switch len(b) {
	case largeBuffer:
		c.large.Put((*[largeBuffer]byte)(b))
	case recordBuffer:
		c.record.Put((*[recordBuffer]byte)(b))
	default:
		c.small.Put((*[smallBuffer]byte)(b))
		return
	}
	c.room.Add(int64(len(b)))
}

// Trim closes the free pipes that were not needed since the last call, or all free pipes.
func (c *Carrier) Trim(all bool) { c.pipes.trim(all) }
