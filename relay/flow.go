package relay

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
)

// flow is one direction of a connection. It holds a buffer or a pipe only between reading and having written.
type flow struct {
	c             *conn
	src, dst      *side
	back          *flow // the other direction
	closed, reset end   // what to say of src
	total         *atomic.Uint64
	moved         atomic.Int64 // bytes that dst has taken

	buf []byte // as large as it is, nil if none is held
	off int    // what is in buf, or in the pipe, begins here
	n   int    // and has so many bytes
	err error  // reading has ended with it
	raw rawFlow

	busy bool // the last read brought more than a little

	// writing is held while a write to dst may find out that dst is broken, and guards severed, which is set once one has. The kernel
	// tells of a reset once: if a write was told, the other direction reads what looks like an orderly end.
	writing sync.Mutex
	severed bool
}

const (
	smallBuffer = 4 << 10 // for waiting where it has to be held meanwhile
	largeBuffer = 32 << 10
)

var (
	errUndeliverable = errors.New("the receiving side takes nothing more")
	errTruncated     = errors.New("the sending side broke off")
)

func (f *flow) run() {
	defer f.c.v.running.Done()
	err := f.carry()
	f.letGo()
	f.c.flowEnded(f, err)
}

// carry returns nil once src has ended in an orderly way, with all of it written.
func (f *flow) carry() error {
	f.raw.init(f)
	for f.err == nil {
		f.fill()
		if f.n == 0 {
			break
		}
		if err := f.empty(); err != nil {
			f.sever(err)
			return errUndeliverable
		}
	}
	if f.err != io.EOF {
		return f.err
	}
	return f.verifyEnd()
}

// verifyEnd tells an orderly end from what a reset left behind.
func (f *flow) verifyEnd() error {
	f.back.writing.Lock()
	defer f.back.writing.Unlock()
	if f.back.severed {
		return errTruncated
	}
	return nil
}

// fill reads what there is, and sets n, or err, or both.
func (f *flow) fill() {
	f.off = 0
	if f.src.sys != nil {
		f.fillRaw()
		return
	}
	f.hold(f.size())
	f.n, f.err = f.src.read(f.buf)
	f.busy = f.n >= smallBuffer
	if f.n == 0 && f.err == nil {
		f.err = io.ErrNoProgress // no net.Conn does that
	}
}

// size is for a buffer that has to be held while waiting.
func (f *flow) size() int {
	if f.busy {
		return largeBuffer
	}
	return smallBuffer
}

// empty writes what fill has read.
func (f *flow) empty() error {
	if f.dst.sys != nil {
		return f.emptyRaw()
	}
	n, err := f.dst.conn.Write(f.buf[:f.n])
	f.count(n)
	return err
}

func (f *flow) sever(err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.severed = f.severed || severs(err)
}

// severs says that an error of a write tells of a reset. EPIPE does not: it comes where the other end has ended in an orderly way before
// it refused what was written, so that all it has said can still be read, and then its end.
func severs(err error) bool { return !errors.Is(err, syscall.EPIPE) }

func (f *flow) count(n int) {
	f.moved.Add(int64(n))
	f.total.Add(uint64(n))
}

// hold takes a buffer of a size.
func (f *flow) hold(size int) {
	if len(f.buf) != size {
		f.letGoBuffer()
		f.buf = f.c.v.carrier.buffer(size)
	}
}

func (f *flow) letGoBuffer() {
	if f.buf != nil {
		f.c.v.carrier.free(f.buf)
		f.buf = nil
	}
}

// letGo gives back what is held.
func (f *flow) letGo() {
	f.letGoBuffer()
	f.raw.letGo(f)
}

// carrier is what flows of a relay share.
type carrier struct {
	small, large sync.Pool // of *[smallBuffer]byte, *[largeBuffer]byte
	pipes        pipes
}

func (c *carrier) init() {
	c.small.New = func() any { return new([smallBuffer]byte) }
	c.large.New = func() any { return new([largeBuffer]byte) }
	c.pipes.init()
}

// buffer returns one with len size, which is smallBuffer or largeBuffer.
func (c *carrier) buffer(size int) []byte {
	if size == smallBuffer {
		return c.small.Get().(*[smallBuffer]byte)[:]
	}
	return c.large.Get().(*[largeBuffer]byte)[:]
}

func (c *carrier) free(b []byte) {
	if len(b) == smallBuffer {
		c.small.Put((*[smallBuffer]byte)(b))
	} else {
		c.large.Put((*[largeBuffer]byte)(b))
	}
}

// trim gives back to the system what was not in use since the last call, or all that is not.
func (c *carrier) trim(all bool) { c.pipes.trim(all) }
