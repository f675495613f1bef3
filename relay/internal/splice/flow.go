// Package splice carries bytes between two sockets, through buffers or, where the kernel can move
// them without a copy, through pipes.
package splice

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
)

// Pair holds the flows of both directions between a client and its target.
type Pair struct {
	In, Out Flow // client to target, target to client
}

// Init prepares the flows between client and target. They add the bytes that they move to bytesIn
// and bytesOut, too. The Pair must not be copied afterwards.
func (p *Pair) Init(c *Carrier, client, target *Side, bytesIn, bytesOut *atomic.Uint64) {
	full := largeBuffer
	if client.conn != client.raw || target.conn != target.raw {
		full = recordBuffer
	}
	p.In = Flow{carrier: c, src: client, dst: target, total: bytesIn, back: &p.Out, full: full}
	p.Out = Flow{carrier: c, src: target, dst: client, total: bytesOut, back: &p.In, full: full}
	p.In.raw.init(&p.In)
	p.Out.raw.init(&p.Out)
}

// Flow is one direction of a connection. It holds a buffer or a pipe only from a read to the end of
// the write that follows.
type Flow struct {
	carrier  *Carrier
	src, dst *Side
	back     *Flow // the other direction
	total    *atomic.Uint64
	moved    atomic.Int64 // bytes that dst has taken

	full int    // size of a buffer for reads that are expected to fill it: largeBuffer or recordBuffer
	buf  []byte // nil if none is held
	off  int    // start of the unwritten bytes in buf
	n    int    // number of unwritten bytes in buf or in the pipe
	err  error  // error that ended reading
	raw  rawFlow

	busy bool // the last read returned at least smallBuffer bytes

	closed atomic.Bool // CloseWrite has been called

	// writing is held during each write to dst, and guards severed. severed is set once a write has
	// failed because of a reset. The kernel reports a reset only once: if a write gets the report,
	// the other direction reads what looks like an orderly end.
	writing sync.Mutex
	severed bool
}

var (
	// ErrUndeliverable is returned by Carry if the receiving side broke.
	ErrUndeliverable = errors.New("the receiving side takes nothing more")
	errTruncated     = errors.New("the sending side broke off")
)

// Moved returns the number of bytes written to the receiving side's socket.
func (f *Flow) Moved() int64 { return f.moved.Load() }

// Waiting returns the number of bytes in the send queue of the receiving side's socket: those that
// its peer's kernel has not acknowledged, and may still. With TLS these are encrypted bytes. It is
// 0 where the kernel does not count them, and for Unix sockets, which hand over bytes at once.
func (f *Flow) Waiting() int64 {
	n, broken := f.unacknowledged()
	if broken {
		return 0
	}
	return n
}

// Delivered returns how many of the moved bytes the receiving side's peer gets if the socket is now
// closed or, with reset, reset: a reset, now or before, loses those in the send queue. With TLS the
// number may be too low by the overhead of the encryption.
func (f *Flow) Delivered(reset bool) int64 {
	n, broken := f.unacknowledged()
	if !reset && !broken {
		return f.Moved()
	}
	return max(0, f.Moved()-n)
}

// unacknowledged returns the number of bytes in the send queue, and whether none of them will be
// sent any more, since the connection is broken.
func (f *Flow) unacknowledged() (n int64, broken bool) {
	n, broken = f.dst.sendQueue()
	if n > 0 && f.closed.Load() {
		n-- // the FIN counts as a byte
	}
	return n, broken
}

// CloseWrite half-closes the connection with the receiving side.
func (f *Flow) CloseWrite() {
	f.closed.Store(true)
	f.dst.CloseWrite()
}

// Carry moves bytes until src ends. It returns nil if src has ended in an orderly way and all its
// bytes are written, ErrUndeliverable if the receiving side broke, and another error if src broke.
func (f *Flow) Carry() error {
	defer f.release()
	for f.err == nil {
		f.fill()
		if f.n == 0 {
			break
		}
		if err := f.flush(); err != nil {
			f.sever(err)
			return ErrUndeliverable
		}
	}
	if f.err != io.EOF {
		return f.err
	}
	return f.verifyEnd()
}

// verifyEnd returns an error if what looks like an orderly end of src was a reset: see
// Flow.severed.
func (f *Flow) verifyEnd() error {
	f.back.writing.Lock()
	defer f.back.writing.Unlock()
	if f.back.severed {
		return errTruncated
	}
	return nil
}

// fill waits for bytes, reads them, and sets n, err or both.
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
		f.err = io.ErrNoProgress // no net.Conn should do that
	}
}

// size returns the size of a buffer that is held while waiting for data.
func (f *Flow) size() int {
	if f.busy {
		return f.full
	}
	return smallBuffer
}

// flush writes the bytes that fill has read.
func (f *Flow) flush() error {
	if f.dst.sys != nil {
		return f.flushRaw()
	}
	n, err := f.dst.conn.Write(f.buf[:f.n])
	f.count(n)
	return err
}

// sever records a failed write to dst.
func (f *Flow) sever(err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.severed = f.severed || severs(err)
}

// severs reports whether an error of a write reports a reset. EPIPE does not: the peer had ended in
// an orderly way before it refused the bytes, so that all that it has sent, and then its end, can
// still be read.
func severs(err error) bool { return !errors.Is(err, syscall.EPIPE) }

func (f *Flow) count(n int) {
	f.moved.Add(int64(n))
	f.total.Add(uint64(n))
}

// hold makes buf a buffer of the given size, or a small one if the carrier has no room for that.
func (f *Flow) hold(size int) {
	if len(f.buf) != size {
		f.releaseBuffer()
		f.buf = f.carrier.buffer(size)
	}
}

func (f *Flow) releaseBuffer() {
	if f.buf != nil {
		f.carrier.free(f.buf)
		f.buf = nil
	}
}

// release gives back the buffer and the pipe.
func (f *Flow) release() {
	f.releaseBuffer()
	f.raw.release(f)
}
