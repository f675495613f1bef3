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
