package sink

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unreadBytes returns the number of bytes in the receive buffer of c.
func unreadBytes(c net.Conn) (n int) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return n
}
