// Package splice carries bytes between two sockets, through buffers or, where the kernel can move them without a copy, through pipes.
package splice

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
)

// Pair is what goes on between a client and its target: a flow for each direction.
type Pair struct {
	In, Out Flow // client to target, target to client
}

// NewPair returns the flows between client and target, which count what they move in bytesIn and bytesOut, too.
func NewPair(c *Carrier, client, target *Side, bytesIn, bytesOut *atomic.Uint64) *Pair {
	p := &Pair{}
	p.In = Flow{carrier: c, src: client, dst: target, total: bytesIn, back: &p.Out}
	p.Out = Flow{carrier: c, src: target, dst: client, total: bytesOut, back: &p.In}
	p.In.raw.init(&p.In)
	p.Out.raw.init(&p.Out)
	return p
}

// Flow is one direction of a connection. It holds a buffer or a pipe only between reading and having written.
type Flow struct {
	carrier  *Carrier
	src, dst *Side
	back     *Flow // the other direction
	total    *atomic.Uint64
	moved    atomic.Int64 // bytes that dst has taken

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
	// ErrUndeliverable is what Carry returns where the receiving side broke.
	ErrUndeliverable = errors.New("the receiving side takes nothing more")
	errTruncated     = errors.New("the sending side broke off")
)

// Moved returns how many bytes the receiving side has taken.
func (f *Flow) Moved() int64 { return f.moved.Load() }

// CloseWrite tells the receiving side that nothing more will come.
func (f *Flow) CloseWrite() { f.dst.CloseWrite() }

// Carry returns nil once src has ended in an orderly way, with all of it written. ErrUndeliverable says that it was the receiving side
// that broke, any other error that it was the sending one.
func (f *Flow) Carry() error {
	defer f.letGo()
	for f.err == nil {
		f.fill()
		if f.n == 0 {
			break
		}
		if err := f.empty(); err != nil {
			f.sever(err)
			return ErrUndeliverable
		}
	}
	if f.err != io.EOF {
		return f.err
	}
	return f.verifyEnd()
}

// verifyEnd tells an orderly end from what a reset left behind.
func (f *Flow) verifyEnd() error {
	f.back.writing.Lock()
	defer f.back.writing.Unlock()
	if f.back.severed {
		return errTruncated
	}
	return nil
}

// fill reads what there is, and sets n, or err, or both.
func (f *Flow) fill() {
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
func (f *Flow) size() int {
	if f.busy {
		return largeBuffer
	}
	return smallBuffer
}

// empty writes what fill has read.
func (f *Flow) empty() error {
	if f.dst.sys != nil {
		return f.emptyRaw()
	}
	n, err := f.dst.conn.Write(f.buf[:f.n])
	f.count(n)
	return err
}

func (f *Flow) sever(err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.severed = f.severed || severs(err)
}

// severs says that an error of a write tells of a reset. EPIPE does not: it comes where the other end has ended in an orderly way before
// it refused what was written, so that all it has said can still be read, and then its end.
func severs(err error) bool { return !errors.Is(err, syscall.EPIPE) }

func (f *Flow) count(n int) {
	f.moved.Add(int64(n))
	f.total.Add(uint64(n))
}

// hold takes a buffer of a size.
func (f *Flow) hold(size int) {
	if len(f.buf) != size {
		f.letGoBuffer()
		f.buf = f.carrier.buffer(size)
	}
}

func (f *Flow) letGoBuffer() {
	if f.buf != nil {
		f.carrier.free(f.buf)
		f.buf = nil
	}
}

// letGo gives back what is held.
func (f *Flow) letGo() {
	f.letGoBuffer()
	f.raw.letGo(f)
}

// Carrier is what flows of a relay share.
type Carrier struct {
	small, large sync.Pool // of *[smallBuffer]byte, *[largeBuffer]byte
	pipes        pipes
}

// NewCarrier returns a Carrier that holds nothing yet.
func NewCarrier() *Carrier {
	c := &Carrier{}
	c.small.New = func() any { return new([smallBuffer]byte) }
	c.large.New = func() any { return new([largeBuffer]byte) }
	c.pipes.init()
	return c
}

// buffer returns one with len size, which is smallBuffer or largeBuffer.
func (c *Carrier) buffer(size int) []byte {
	if size == smallBuffer {
		return c.small.Get().(*[smallBuffer]byte)[:]
	}
	return c.large.Get().(*[largeBuffer]byte)[:]
}

func (c *Carrier) free(b []byte) {
	if len(b) == smallBuffer {
		c.small.Put((*[smallBuffer]byte)(b))
	} else {
		c.large.Put((*[largeBuffer]byte)(b))
	}
}

// Trim gives back to the system what was not in use since the last call, or all that is not.
func (c *Carrier) Trim(all bool) { c.pipes.trim(all) }
