//go:build unix

package clienthello

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// peekBuffers has buffers to peek at ClientHellos. A waiting goroutine holds none.
var peekBuffers = sync.Pool{New: func() any { return new([MaxStream]byte) }}

// await waits until the whole ClientHello is in the socket's buffer, and leaves it there: a client
// that has not sent all of it costs no memory of this process besides its goroutine's. Then it
// calls look with the bytes that have arrived, which look must not keep. If conn is not a socket,
// ok is false and await has done nothing. Otherwise it returns what Await does, or the error of
// look.
func await(conn net.Conn, look func(b []byte) error) (size int, ok bool, err error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false, nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	w := wait{look: look}
	err = raw.Read(func(fd uintptr) (done bool) { return w.once(int(fd)) })
	switch {
	case w.err != nil:
		err = w.err
	case err != nil && w.seen > 0:
		err = fmt.Errorf("%d bytes of an unfinished ClientHello have come: %w", w.seen, err)
	}
	return w.size, true, err
}

// wait is the state of a wait for a ClientHello.
type wait struct {
	look func(b []byte) error
	size int   // of the message, in bytes; 0 while unknown
	seen int   // bytes that have arrived
	err  error // the reason to stop waiting
}

// once scans the bytes that have arrived, and reports whether the wait is over.
func (w *wait) once(fd int) (done bool) {
	buf := peekBuffers.Get().(*[MaxStream]byte)
	defer peekBuffers.Put(buf)
	n, err := peek(fd, buf[:])
	before := w.seen
	switch {
	case err == unix.EAGAIN:
		return false
	case before == 0 && (n == 0 || err == unix.ECONNRESET):
		w.err = ErrProbe
		return true
	case err != nil:
		w.err = os.NewSyscallError("recvfrom", err)
		return true
	}
	w.seen = n
	w.size, err = Scan(buf[:n])
	switch {
	case err == nil:
		w.err = w.look(buf[:n])
		return true
	case !errors.Is(err, ErrIncomplete):
		w.err = err
	case endsHere(fd, n > before):
		w.err = fmt.Errorf("the connection ended within its ClientHello: %w", io.ErrUnexpectedEOF)
	}
	return w.err != nil
}

// peek copies the bytes that have arrived to b, and leaves them in the socket's buffer.
func peek(fd int, b []byte) (n int, err error) {
	for {
		if n, _, err = unix.Recvfrom(fd, b, unix.MSG_PEEK); err != unix.EINTR {
			return max(0, n), err
		}
	}
}

// Lost returns an error if a connection that is not being read has become useless: it was
// closed, its read deadline has passed, or the peer has ended its stream. Lost consumes nothing.
// Where it cannot tell, it returns nil.
func Lost(conn net.Conn) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	ended := false
	err = raw.Read(func(fd uintptr) (done bool) { ended = hungUp(int(fd)); return true })
	if err == nil && ended {
		return io.ErrUnexpectedEOF
	}
	return err
}
