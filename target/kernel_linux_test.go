package target

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// control calls f with the descriptor of conn.
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

// held returns how many bytes the peer's kernel holds that the peer has not read (SIOCINQ).
func held(t testing.TB, peer net.Conn) (n int) {
	t.Helper()
	control(t, peer, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	})
	return n
}

// probing reports whether the kernel has bytes of c to send that the peer's buffer had no room for
// when a timer fired last.
func probing(t testing.TB, c *Conn) bool {
	t.Helper()
	var info unix.TCPInfo
	control(t, c.raw, func(fd int) error {
		_, err := tcpInfo(fd, &info)
		return err
	})
	return info.Backoff > 0
}

// settled waits until the buffer of a peer that does not read is full, and returns how many bytes
// it holds. The goroutine that writes to c must not end by itself. On a busy machine it may rest
// with room in the peer's buffer, and the kernel sends what fits into the last part of a window,
// less than a segment, only when a timer fires: so settled waits until one has fired in vain. It
// looks first, because a look waits for a write that holds the socket, in the middle of which
// nothing is sent.
func settled(t testing.TB, c *Conn, peer net.Conn) int {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, "the peer's buffer to fill up", func() bool {
		c.Progress()
		if n := held(t, peer); n != last || !probing(t, c) {
			last, since = n, time.Now()
		}
		return time.Since(since) > 400*time.Millisecond
	})
	return last
}

// arrived waits until the peer holds n unread bytes.
func arrived(t testing.TB, peer net.Conn, n int) {
	t.Helper()
	eventually(t, "bytes to arrive", func() bool { return held(t, peer) >= n })
}

// peek returns the first n unread bytes that the peer holds, and leaves them unread.
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

// setReceiveBuffer fixes the size of the peer's receive buffer; the kernel grants up to twice
// net.core.rmem_max.
func setReceiveBuffer(t testing.TB, peer net.Conn, size int) {
	t.Helper()
	setOption(t, peer, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
}
