package relay

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawFlow is the part of a flow that reads from a descriptor or writes to one.
//
// What comes in small pieces is read into a buffer and written from there: that is no dearer than two splices, and needs no pipe. Once a
// read fills the buffer, bytes go through a pipe, where the kernel moves them without a copy, until little comes at once again.
//
// Buffer and pipe are taken while there is something to read and given back before waiting for more.
type rawFlow struct {
	readable, writable func(fd uintptr) bool // bound once: binding them for each call would allocate
	splices            bool                  // both ends are sockets of a kind that it works with
	bulk               bool
	pipe               *pipe
	failed             error // of a write
}

func (r *rawFlow) init(f *flow) {
	r.splices = f.src.sys != nil && f.dst.sys != nil
	r.readable, r.writable = f.readable, f.writable
}

func (r *rawFlow) letGo(f *flow) {
	if r.pipe != nil {
		f.c.v.carrier.pipes.put(r.pipe, f.n > 0)
		r.pipe = nil
	}
}

// descriptor returns nil if nc has none.
func descriptor(nc net.Conn) syscall.RawConn {
	if sc, ok := nc.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			return rc
		}
	}
	return nil
}

// fillRaw waits until there is something to read, and takes it.
func (f *flow) fillRaw() {
	if err := f.src.sys.Read(f.raw.readable); err != nil {
		f.n, f.err = 0, err
	}
}

// readable is called when there may be something to read, and returns false to wait until there is.
func (f *flow) readable(fd uintptr) bool {
	for {
		n, err := f.take(int(fd))
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			f.letGo()
			return false
		case err == unix.EINVAL && f.raw.pipe != nil:
			f.raw.splices = false
			f.letGo()
		case err != nil:
			f.err = os.NewSyscallError("read", err)
			return true
		case n == 0:
			f.err = io.EOF
			return true
		default:
			f.n = n
			f.raw.bulk = n >= largeBuffer || f.raw.bulk && n >= smallBuffer
			return true
		}
	}
}

// take reads from fd, which may have nothing, into a pipe or a buffer.
func (f *flow) take(fd int) (int, error) {
	f.n = 0
	if f.raw.splices && f.raw.bulk && f.holdPipe() {
		n, err := unix.Splice(fd, nil, f.raw.pipe.w, nil, pipeSize, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	}
	f.raw.letGo(f)
	f.hold(largeBuffer)
	return unix.Read(fd, f.buf)
}

// holdPipe returns false if there are too many already.
func (f *flow) holdPipe() bool {
	if f.raw.pipe == nil {
		f.raw.pipe = f.c.v.carrier.pipes.get()
	}
	if f.raw.pipe == nil {
		return false
	}
	f.letGoBuffer()
	return true
}

// emptyRaw writes what has been read.
func (f *flow) emptyRaw() error {
	if err := f.dst.sys.Write(f.raw.writable); err != nil {
		return err
	}
	return f.raw.failed
}

// writable is called when there may be room, and returns false to wait until there is.
func (f *flow) writable(fd uintptr) bool {
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

func (f *flow) give(fd int) (int, error) {
	if f.raw.pipe != nil {
		n, err := unix.Splice(f.raw.pipe.r, nil, fd, nil, f.n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if n == 0 && err == nil {
			err = unix.EPIPE // the pipe has f.n bytes, so this does not happen; it must not spin if it does
		}
		return int(n), err
	}
	return unix.Write(fd, f.buf[f.off:f.off+f.n])
}

// gone says whether the client has reset the connection. An orderly end is none: it may have sent all that it has to say.
func gone(raw net.Conn) bool {
	rc := descriptor(raw)
	if rc == nil {
		return false
	}
	var err error
	rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err != nil && err != unix.EAGAIN && err != unix.EINTR
}

const (
	pipeSize  = 1 << 20  // what is asked for: with a quarter of it a gigabyte took half as much CPU time again
	leastPipe = 64 << 10 // less is no better than a buffer; the system gives less once a user has many
	mostPipes = 256      // what is in them is the kernel's memory, and a receiver that does not read leaves it there
)

// pipe is what bytes go through from one socket to another. It is empty while nobody holds it.
type pipe struct{ r, w int }

// pipes keeps pipes for those who need one for a moment. There are never more than a sixteenth of the descriptors that the process may
// have, and never more than mostPipes.
type pipes struct {
	mu    sync.Mutex
	most  int
	all   int     // those in use and the free ones
	free  []*pipe // the last one was used last
	least int     // the fewest that were free since the last trim
}

func (p *pipes) init() {
	p.most = mostPipes
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		p.most = int(min(mostPipes, limit.Cur/32))
	}
}

// get returns nil if there are too many.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free) - 1; n >= 0 {
		q := p.free[n]
		p.free = p.free[:n]
		p.least = min(p.least, n)
		return q
	}
	if p.all >= p.most {
		return nil
	}
	q := newPipe()
	if q != nil {
		p.all++
	}
	return q
}

// put takes a pipe back, to close it if there may be something in it.
func (p *pipes) put(q *pipe, dirty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dirty {
		p.all--
		q.close()
		return
	}
	p.free = append(p.free, q)
}

// trim closes the pipes that nobody has needed since the last call, or all that are free.
func (p *pipes) trim(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.least
	if all {
		n = len(p.free)
	}
	for _, q := range p.free[:n] { // the ones in front were not used for the longest time
		q.close()
	}
	p.all -= n
	p.free = append(p.free[:0], p.free[n:]...)
	p.least = len(p.free)
}

// newPipe returns nil if there is none to be had.
func newPipe() *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	q := &pipe{r: fds[0], w: fds[1]}
	unix.FcntlInt(uintptr(q.w), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(q.w), unix.F_GETPIPE_SZ, 0); err != nil || size < leastPipe {
		q.close()
		return nil
	}
	return q
}

func (q *pipe) close() {
	unix.Close(q.r)
	unix.Close(q.w)
}
