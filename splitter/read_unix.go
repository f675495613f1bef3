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
	shut     bool // the gate did not let it in
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

// waitForTurn waits for what readable found wanting; not within the callback, for that would hold up Close.
func (c *conn) waitForTurn() error {
	if c.viaFD.shut {
		c.park() // a thousand that wait must not hold a buffer each
		return c.waitAtGate()
	}
	c.leaveGate() // memory may take long to come, and others need less
	return c.makeRoom()
}

// readable is called when there may be something to read, and returns false to wait until there is.
func (c *conn) readable(fd uintptr) bool {
	r := &c.viaFD
	if !c.enterGate() {
		r.shut = true
		return true
	}
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
