//go:build unix

package splitter

import (
	"io"
	"os"
	"syscall"
)

// fdReader reads a plain connection at its descriptor, so that no buffer is needed while there is nothing to read.
type fdReader struct {
	rc       syscall.RawConn
	readable func(fd uintptr) bool // (*conn).readable, bound once: binding it for each read would allocate
	n        int
	err      error
	starved  bool // the budget had no room for a buffer
}

// init makes c read at its descriptor, if it has one.
func (r *fdReader) init(c *conn) bool {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	r.rc, r.readable = rc, c.readable
	c.read = c.readFD
	return true
}

func (c *conn) readFD() (int, error) {
	r := &c.viaFD
	for {
		r.n, r.err, r.starved = 0, nil, false
		if err := r.rc.Read(r.readable); err != nil {
			return 0, err
		}
		if !r.starved {
			return r.n, r.err
		}
		// Not within the callback: that would hold up Close.
		if err := c.makeRoom(); err != nil {
			return 0, err
		}
	}
}

// readable is called when there may be something to read, and returns false to wait until there is.
func (c *conn) readable(fd uintptr) bool {
	r := &c.viaFD
	if !c.fit() {
		r.starved = true
		return true
	}
	b := c.buf.B
	for {
		n, err := syscall.Read(int(fd), b[len(b):cap(b)])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			c.park()
			return false
		case err != nil:
			r.err = os.NewSyscallError("read", err)
			return true
		case n == 0:
			r.err = io.EOF
			return true
		default:
			r.n = n
			return true
		}
	}
}
