//go:build unix

package listen

import (
	"bytes"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// peekLine waits until there is something to read and returns how many of these bytes belong to the
// line: up to its end, or all of them, but at most limit. It leaves them to be read.
func peekLine(conn *net.TCPConn, limit int) (n int, err error) {
	var room [maxV1Header]byte
	p := room[:min(limit, len(room))]
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peekErr error
	err = rc.Read(func(fd uintptr) bool {
		n, _, peekErr = unix.Recvfrom(int(fd), p, unix.MSG_PEEK)
		for peekErr == unix.EINTR {
			n, _, peekErr = unix.Recvfrom(int(fd), p, unix.MSG_PEEK)
		}
		return peekErr != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case peekErr != nil:
		return 0, peekErr
	case n == 0:
		return 0, io.EOF
	}
	if i := bytes.IndexByte(p[:n], '\n'); i >= 0 {
		n = i + 1
	}
	return n, nil
}
