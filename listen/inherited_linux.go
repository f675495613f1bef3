package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// listens says whether connections can be accepted from a socket: what the net package takes for a listener may be a connection.
func listens(socket syscall.Conn) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var listens int
	failed := raw.Control(func(fd uintptr) { listens, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) })
	return failed == nil && err == nil && listens != 0
}
