package simulate

import (
	"net"

	"golang.org/x/sys/unix"
)

// unreadBytes returns what lies in the receive buffer of c.
func unreadBytes(c *net.TCPConn) (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return n
}
