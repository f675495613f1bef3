package send

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many bytes written to a TCP connection the peer's kernel has not
// acknowledged. The number remains available after the connection has failed, until it is closed.
// Our FIN counts as one byte.
func unacknowledged(conn net.Conn) (n int, known bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	if raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil || err != nil {
		return 0, false
	}
	return n, true
}
