package splice

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
)

// rawFlow is the part of a flow that reads from a descriptor or writes to one.
//
// Small amounts are read into a buffer and written from there. That costs no more than two splices
// and needs no pipe. Once a read fills the buffer, bytes go through a pipe, where the kernel moves
// them without a copy, until reads return little again.
//
// The buffer or pipe is taken when there are bytes to read and given back before waiting for more.
type rawFlow struct {
	readable, writable func(fd uintptr) bool // bound once, since binding them for each call would allocate
	splices            bool                  // splice works between the two sockets
	bulk               bool                  // recent reads were large
	pipe               *pipe
	failed             error // of the last write
}

func (r *rawFlow) init(f *Flow) {
	r.splices = f.src.sys != nil && f.dst.sys != nil
	r.readable, r.writable = f.readable, f.writable
}

func (r *rawFlow) release(f *Flow) {
	if r.pipe != nil {
		f.carrier.pipes.put(r.pipe, f.n > 0)
		r.pipe = nil
	}
}

// descriptor returns access to the descriptor of nc, or nil if nc has none.
func descriptor(nc net.Conn) syscall.RawConn {
	if sc, ok := nc.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			return rc
		}
	}
	return nil
}

// fillRaw waits until there are bytes to read, and reads them.
func (f *Flow) fillRaw() {
	if err := f.src.sys.Read(f.raw.readable); err != nil {
		f.n, f.err = 0, err
	}
}

// readable is called when there may be bytes to read. It returns false to wait for them.
func (f *Flow) readable(fd uintptr) bool {
	for {
		n, err := f.take(int(fd))
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			f.release()
			return false
		case err == unix.EINVAL && f.raw.pipe != nil:
			f.raw.splices = false
			f.release()
		case err != nil:
			f.err = os.NewSyscallError("read", err)
			return true
		case n == 0:
			f.err = io.EOF
			return true
		default:
			f.n = n
			f.raw.bulk = n == len(f.buf) || f.raw.bulk && n >= smallBuffer
			return true
		}
	}
}

// take reads from fd into a pipe or a buffer. It does not block. A splice stops short of urgent
// data as if there were no more, or as if that were the end, so take then reads, which tells.
func (f *Flow) take(fd int) (int, error) {
	f.n = 0
	if f.raw.splices && f.raw.bulk && f.holdPipe() {
		n, err := unix.Splice(fd, nil, f.raw.pipe.w, nil, pipeSize, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if n > 0 || err != nil && err != unix.EAGAIN {
			return int(n), err
		}
	}
	f.raw.release(f)
	f.hold(f.full)
	return unix.Read(fd, f.buf)
}

// holdPipe reports whether the flow holds a pipe now. It does not if there are too many.
func (f *Flow) holdPipe() bool {
	if f.raw.pipe == nil {
		f.raw.pipe = f.carrier.pipes.get()
	}
	if f.raw.pipe == nil {
		return false
	}
	f.releaseBuffer()
	return true
}

// flushRaw writes the bytes that have been read.
func (f *Flow) flushRaw() error {
	if err := f.dst.sys.Write(f.raw.writable); err != nil {
		return err
	}
	return f.raw.failed
}

// writable is called when there may be room for a write. It returns false to wait for room.
func (f *Flow) writable(fd uintptr) bool {
	f.writing.Lock()
	defer f.writing.Unlock()
	for f.n > 0 {
		n, err := f.give(int(fd))
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			f.raw.failed = os.NewSyscallError("write", err)
			f.severed = severs(err)
			return true
		default:
			f.off += n
			f.n -= n
			f.count(n)
		}
	}
	return true
}

// give writes from the pipe or the buffer to fd. It does not block.
func (f *Flow) give(fd int) (int, error) {
	if f.raw.pipe != nil {
		n, err := unix.Splice(f.raw.pipe.r, nil, fd, nil, f.n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if n == 0 && err == nil {
			err = unix.EPIPE // cannot happen, since the pipe holds f.n bytes; prevents an endless loop
		}
		return int(n), err
	}
	return unix.Write(fd, f.buf[f.off:f.off+f.n])
}

// WasReset reports whether the peer has reset the connection. An orderly end is no reset: the peer
// may have sent all its data.
func (s *Side) WasReset() bool {
	rc := descriptor(s.raw)
	if rc == nil {
		return false
	}
	var err error
	rc.Control(func(fd uintptr) { err = loop.Peek(int(fd)) })
	return err != nil && err != unix.EAGAIN
}
