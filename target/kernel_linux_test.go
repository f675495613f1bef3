package target

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// control calls f with a connection's descriptor.
func control(t testing.TB, conn any, f func(fd int) error) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil || ferr != nil {
		t.Fatal(err, ferr)
	}
}

// held returns how many bytes a peer's kernel has that the peer has not read (SIOCINQ).
func held(t testing.TB, peer net.Conn) (n int) {
	t.Helper()
	control(t, peer, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	})
	return n
}

// settled waits until nothing more arrives at a peer that does not read, and returns what it
// holds. The time is that of a delayed acknowledgement, many times over.
func settled(t testing.TB, peer net.Conn) int {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, "the peer's buffer to fill up", func() bool {
		if n := held(t, peer); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 400*time.Millisecond
	})
	return last
}

// arrived waits until a peer holds n bytes unread.
func arrived(t testing.TB, peer net.Conn, n int) {
	t.Helper()
	eventually(t, "bytes to arrive", func() bool { return held(t, peer) >= n })
}

// peek returns the first n bytes that a peer holds unread, and leaves them there.
func peek(t testing.TB, peer net.Conn, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	control(t, peer, func(fd int) (err error) {
		n, _, err = unix.Recvfrom(fd, p, unix.MSG_PEEK)
		return err
	})
	return p[:n]
}

func setOption(t testing.TB, conn any, level, option, value int) {
	t.Helper()
	control(t, conn, func(fd int) error { return unix.SetsockoptInt(fd, level, option, value) })
}

func getOption(t testing.TB, conn any, level, option int) (value int) {
	t.Helper()
	control(t, conn, func(fd int) (err error) {
		value, err = unix.GetsockoptInt(fd, level, option)
		return err
	})
	return value
}

// setReceiveBuffer fixes how much a peer holds; the kernel grants up to twice net.core.rmem_max.
func setReceiveBuffer(t testing.TB, peer net.Conn, size int) {
	t.Helper()
	setOption(t, peer, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
}
