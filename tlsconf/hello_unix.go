//go:build unix

package tlsconf

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// helloRooms holds the buffers that ClientHellos are looked at in. None is held while waiting.
var helloRooms = sync.Pool{New: func() any { return new([maxHelloStream]byte) }}

// awaitHello waits until the whole ClientHello is in the socket's buffer, and leaves it there: a
// client that has not sent all of it costs no memory of this process besides its goroutine's. It
// returns the size of the ClientHello, 0 if the stream does not begin with one, and the error of
// the connection's read deadline.
func awaitHello(conn net.Conn) (size int, err error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return maxHello, nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var h hello
	err = raw.Read(func(fd uintptr) (done bool) { return h.look(int(fd)) })
	switch {
	case h.err != nil:
		return h.size, h.err
	case err != nil && h.seen > 0:
		return h.size, fmt.Errorf("%d bytes of an unfinished ClientHello have come: %w", h.seen, err)
	}
	return h.size, err
}

// hello is the state of a wait for a ClientHello.
type hello struct {
	size, seen int // of the message, and of what has arrived
	err        error
}

// look scans what has arrived, and reports whether there is nothing more to wait for.
func (h *hello) look(fd int) (done bool) {
	room := helloRooms.Get().(*[maxHelloStream]byte)
	defer helloRooms.Put(room)
	n, err := peek(fd, room[:])
	before := h.seen
	switch {
	case err == unix.EAGAIN:
		return false
	case before == 0 && (n == 0 || err == unix.ECONNRESET):
		h.err = ErrProbe
		return true
	case err != nil:
		h.err = os.NewSyscallError("recvfrom", err)
		return true
	}
	h.seen = n
	h.size, done, h.err = scanHello(room[:n])
	switch {
	case done || h.err != nil:
		return true
	case n == len(room):
		h.err = errHelloTooLarge
	case endsHere(fd, n > before):
		h.err = fmt.Errorf("the connection ended within its ClientHello: %w", io.ErrUnexpectedEOF)
	}
	return h.err != nil
}

func peek(fd int, b []byte) (n int, err error) {
	for {
		if n, _, err = unix.Recvfrom(fd, b, unix.MSG_PEEK); err != unix.EINTR {
			return max(0, n), err
		}
	}
}

// lost reports why a connection on which nothing is read cannot be used any more: it was closed,
// its read deadline has passed, or the peer has ended it. Where it cannot tell, it returns nil.
func lost(conn net.Conn) error {
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
