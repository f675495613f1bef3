//go:build unix

package splitter

import (
	"io"
	"os"
	"syscall"

	"linesplit/internal/intake"
)

// fdReader reads a plain connection through its descriptor, so that it needs no buffer while there
// is nothing to read.
type fdReader struct {
	rc       syscall.RawConn
	readable func(fd uintptr) bool // (*conn).readable, bound once: binding it for each read would allocate
	n        int
	err      error
	next     intake.Next // that Prepare has asked for
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
		r.n, r.err, r.next = 0, nil, intake.Ready
		if err := r.rc.Read(r.readable); err != nil {
			return 0, err
		}
		var err error
		switch r.next {
		case intake.Ready:
			return r.n, r.err
		case intake.AtGate:
			err = c.waitAtGate()
		case intake.Starved:
			err = c.makeRoomInGate()
		}
		if err != nil {
			return 0, err
		}
	}
}

// readable is called when there may be something to read. It returns false to wait until there is,
// and true for readFD to wait for the gate or for memory: here that would hold up Close.
func (c *conn) readable(fd uintptr) bool {
	r := &c.viaFD
	if r.next = c.in.Prepare(); r.next != intake.Ready {
		return true
	}
	room := c.in.Room()
	for {
		n, err := syscall.Read(int(fd), room)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			c.in.Quiet()
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
