//go:build unix

package splitter

import (
	"io"
	"os"
	"syscall"
)

// fdReader reads a plain connection through its descriptor, so that it needs no buffer while there
// is nothing to read.
type fdReader struct {
	rc       syscall.RawConn
	readable func(fd uintptr) bool // (*conn).readable, bound once: binding it for each read would allocate
	n        int
	err      error
	starved  bool // the budget has no room for a buffer
	shut     bool // the gate is full
}

// init makes c read through its descriptor, and reports whether it has one.
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
		r.n, r.err, r.starved, r.shut = 0, nil, false, false
		if err := r.rc.Read(r.readable); err != nil {
			return 0, err
		}
		if !r.starved && !r.shut {
			return r.n, r.err
		}
		if err := c.waitForTurn(); err != nil {
			return 0, err
		}
	}
}

// waitForTurn waits for the gate or the memory that readable could not get. It must not run within
// the callback, which would hold up Close.
func (c *conn) waitForTurn() error {
	if c.viaFD.shut {
		c.release() // a thousand waiting connections must not hold a buffer each
		c.account()
		return c.waitAtGate()
	}
	return c.makeRoomInGate()
}

// readable is called when there may be something to read. It returns false to wait until there is.
func (c *conn) readable(fd uintptr) bool {
	r := &c.viaFD
	if !c.enterGate() {
		r.shut = true
		return true
	}
	if !c.ensure() {
		r.starved = true
		return true
	}
	b := c.buf.B
	for {
		n, err := syscall.Read(int(fd), b[len(b):cap(b)])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			c.release()
			c.account()
			c.leaveGate()
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
