//go:build unix

package sink

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitUnread returns when something lies unread in the connection's receive buffer, or its end does. It waits as a read does, and ends like one
// with its deadline.
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

// receiveBuffer sets the size of the receive buffers of a listener's connections, which take it over: set on them, it would come after the first
// window.
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
