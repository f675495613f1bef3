package target

import (
	"time"

	"golang.org/x/sys/unix"
)

// countsKept says that this system tells what a peer has acknowledged.
const countsKept = true

// stateClose is TCP_CLOSE of the kernel's include/net/tcp_states.h.
const stateClose = 7

// countTCP asks the kernel about a TCP socket: SIOCOUTQ (tcp(7)) is write_seq − snd_una, exact to the byte also after a
// reset for as long as the descriptor is open; our own FIN counts as one byte.
func countTCP(fd int) (kernelCounts, error) {
	unacked, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return kernelCounts{}, err
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return kernelCounts{}, err
	}
	return kernelCounts{
		unacked:     uint64(unacked),
		window:      uint64(info.Snd_wnd),
		hasWindow:   true,
		closed:      info.State == stateClose,
		unanswered:  info.Retransmits > 0 || info.Probes > 0,
		lastAckSeen: time.Duration(info.Last_ack_recv) * time.Millisecond,
	}, nil
}

// countUnix asks about a Unix socket. SIOCOUTQ there counts the memory of what the peer's application has not read, which is
// never less than its bytes, so that written − SIOCOUTQ has been read for certain. It also falls to 0 when the peer closes
// with data unread, but the kernel marks the hang-up before it frees the data: asked in this order, a count without closed
// is true.
func countUnix(fd int) (kernelCounts, error) {
	unread, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return kernelCounts{}, err
	}
	poll := [1]unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(poll[:], 0); err != nil {
		return kernelCounts{}, err
	}
	return kernelCounts{unacked: uint64(unread), closed: poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0}, nil
}

// socketError takes the pending error of a socket, which the kernel then forgets.
func socketError(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}
