package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// listens reports whether connections can be accepted from a socket. The net package makes a
// listener even from a connection.
func listens(socket syscall.Conn) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var listens int
	failed := raw.Control(func(fd uintptr) {
		listens, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	})
	return failed == nil && err == nil && listens != 0
}
