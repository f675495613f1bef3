package splice

import (
	"net"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
)

// stateClose is TCP_CLOSE of the kernel's include/net/tcp_states.h.
const stateClose = 7

// sendQueue returns the number of bytes that the peer's kernel has not acknowledged, a FIN
// included, and whether the connection is broken. It returns 0 and false for anything but an open
// TCP socket. The number is exact even after a reset, until the socket is closed.
func (s *Side) sendQueue() (n int64, broken bool) {
	tcp, ok := s.raw.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	rc := descriptor(tcp)
	if rc == nil {
		return 0, false
	}
	rc.Control(func(fd uintptr) { n, broken = queueOf(int(fd)) })
	return n, broken
}

// queueOf is sendQueue for a descriptor. If the queue is empty, it does not look whether the
// connection is broken.
func queueOf(fd int) (n int64, broken bool) {
	if n = unacknowledged(fd); n == 0 || !isClosed(fd) {
		return n, false
	}
	n = unacknowledged(fd) // the last acknowledgement may have closed it since the first look
	return n, n > 0
}

// unacknowledged returns 0 if the kernel does not count the queue.
func unacknowledged(fd int) int64 {
	n, err := loop.Unacknowledged(fd)
	if err != nil {
		return 0
	}
	return int64(n)
}

func isClosed(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == stateClose
}

// awaitRoom waits until the socket takes bytes or is broken. It returns false if the side is
// interrupted first.
func (s *Side) awaitRoom() bool {
	rc := descriptor(s.raw)
	if rc == nil {
		return true
	}
	return rc.Write(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, 0)
		return n > 0 || err != nil && err != unix.EINTR
	}) == nil
}
