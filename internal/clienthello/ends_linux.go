package clienthello

import "golang.org/x/sys/unix"

// endsHere reports whether the peer has ended the stream. Other systems need to know, besides,
// whether bytes have arrived since the last look.
func endsHere(fd int, _ bool) bool { return hungUp(fd) }

// hungUp reports whether the peer has ended the stream, which may have unread bytes.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}
