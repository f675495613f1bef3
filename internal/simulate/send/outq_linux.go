package send

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many of the bytes written to a TCP connection its peer's kernel has not acknowledged. That stays known when the
// connection has failed, until it is closed. Our FIN counts as a byte.
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
