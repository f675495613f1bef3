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

// rooms holds the buffers that ClientHellos are looked at in. None is held while waiting.
var rooms = sync.Pool{New: func() any { return new([MaxStream]byte) }}

// await waits until the whole ClientHello is in the socket's buffer, and leaves it there: a client
// that has not sent all of it costs no memory of this process besides its goroutine's. Then it
// calls look with what has come, which look must not keep. ok is false, and nothing has happened,
// if conn is not a socket. The other results are those of Await, or the error of look.
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
	look       func(b []byte) error
	size, seen int // of the message, and of what has arrived
	err        error
}

// once scans what has arrived, and reports whether there is nothing more to wait for.
func (w *wait) once(fd int) (done bool) {
	room := rooms.Get().(*[MaxStream]byte)
	defer rooms.Put(room)
	n, err := peek(fd, room[:])
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
	w.size, err = Scan(room[:n])
	switch {
	case err == nil:
		w.err = w.look(room[:n])
		return true
	case !errors.Is(err, ErrIncomplete):
		w.err = err
	case endsHere(fd, n > before):
		w.err = fmt.Errorf("the connection ended within its ClientHello: %w", io.ErrUnexpectedEOF)
	}
	return w.err != nil
}

func peek(fd int, b []byte) (n int, err error) {
	for {
		if n, _, err = unix.Recvfrom(fd, b, unix.MSG_PEEK); err != unix.EINTR {
			return max(0, n), err
		}
	}
}

// Lost reports why a connection on which nothing is read cannot be used any more: it was closed,
// its read deadline has passed, or the peer has ended it. Where it cannot tell, it returns nil.
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
