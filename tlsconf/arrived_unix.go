//go:build unix

package tlsconf

import (
	"io"
	"net"
	"os"
	"syscall"
)

// readNow is a read(2) that does not wait. It is kept in the Watched so that it allocates nothing.
type readNow struct {
	sys     syscall.RawConn
	attempt func(fd uintptr) bool // (*readNow).try, bound once
	p       []byte
	n       int
	err     error
}

// read reads what has arrived at conn, the same in all calls. It returns errNotArrived if there is
// nothing, or if conn has no descriptor.
func (r *readNow) read(conn net.Conn, p []byte) (int, error) {
	if r.attempt == nil {
		r.init(conn)
	}
	if r.sys == nil {
		return 0, errNotArrived
	}
	r.p = p
	if err := r.sys.Read(r.attempt); err != nil { // closed, or past the deadline
		r.n, r.err = 0, errNotArrived
	}
	r.p = nil
	return r.n, r.err
}

func (r *readNow) init(conn net.Conn) {
	r.attempt = r.try
	if c, ok := conn.(syscall.Conn); ok {
		r.sys, _ = c.SyscallConn()
	}
}

// try returns true: it has done all that needs no wait.
func (r *readNow) try(fd uintptr) bool {
	n, err := syscall.Read(int(fd), r.p)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), r.p)
	}
	r.n, r.err = max(0, n), nil
	switch {
	case err == syscall.EAGAIN:
		r.err = errNotArrived
	case err != nil:
		r.err = os.NewSyscallError("read", err)
	case n == 0:
		r.err = io.EOF
	}
	return true
}
