//go:build unix

package sink

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitUnread waits until the connection has unread data, or its end, in the receive buffer. The
// read deadline applies to it as to a read.
func waitUnread(c net.Conn) error {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var glance [1]byte
	return raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), glance[:], unix.MSG_PEEK)
		return err != unix.EAGAIN && err != unix.EINTR
	})
}

// receiveBuffer sets the size of a listener's receive buffer, which its connections inherit. On a
// connection, the setting would come after the first window was offered.
func receiveBuffer(size int) func(network, address string, c syscall.RawConn) error {
	if size <= 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		})
		if controlErr != nil {
			return controlErr
		}
		return err
	}
}
