package target

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// countsKept reports whether this system's kernel counts what a peer has acknowledged.
const countsKept = true

// The states TCP_CLOSE and TCP_CLOSE_WAIT of the kernel's include/net/tcp_states.h.
const (
	stateClose     = 7
	stateCloseWait = 8 // the peer's FIN has come, and we have sent none
)

// countTCP asks the kernel about a TCP socket. SIOCOUTQ (tcp(7)) is write_seq − snd_una, exact to
// the byte also after a reset, as long as the descriptor is open; our own FIN counts as one byte.
func countTCP(fd int) (kernelCounts, error) {
	unacked, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return kernelCounts{}, err
	}
	var info unix.TCPInfo
	known, err := tcpInfo(fd, &info)
	if err != nil {
		return kernelCounts{}, err
	}
	return kernelCounts{
		unacked:     uint64(unacked),
		window:      uint64(info.Snd_wnd),
		hasWindow:   known >= unsafe.Offsetof(info.Snd_wnd)+unsafe.Sizeof(info.Snd_wnd),
		segment:     int(info.Snd_mss),
		closed:      info.State == stateClose,
		peerFIN:     info.State == stateCloseWait,
		tcpAcked:    tcpAcked(&info, known),
		unanswered:  info.Retransmits > 0 || info.Probes > 0,
		lastAckSeen: time.Duration(info.Last_ack_recv) * time.Millisecond,
		roundTrip:   time.Duration(info.Rtt) * time.Microsecond,
	}, nil
}

// tcpAcked returns tcpi_bytes_acked (Linux 4.1 and later), else 0.
func tcpAcked(info *unix.TCPInfo, known uintptr) uint64 {
	if known < unsafe.Offsetof(info.Bytes_acked)+unsafe.Sizeof(info.Bytes_acked) {
		return 0
	}
	return info.Bytes_acked
}

// tcpInfo is unix.GetsockoptTCPInfo without its allocation. It returns how many bytes of info the
// kernel filled in: old kernels know fewer.
func tcpInfo(fd int, info *unix.TCPInfo) (uintptr, error) {
	size := uint32(unix.SizeofTCPInfo)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return uintptr(size), nil
}

// countUnix asks the kernel about a Unix socket, whose SIOCOUTQ counts the memory of what the
// peer's application has not read. That is never less than its bytes, so written − SIOCOUTQ bytes
// have certainly been read. SIOCOUTQ also falls to 0 when the peer closes with data unread, but the
// kernel marks the hang-up and the error before it frees the data. In this order of calls, a count
// without closed is therefore true, and so is one without reset as long as nothing has taken the
// error from the socket.
func countUnix(fd int) (kernelCounts, error) {
	unread, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return kernelCounts{}, err
	}
	poll := [1]unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(poll[:], 0); err != nil {
		return kernelCounts{}, err
	}
	events := poll[0].Revents
	return kernelCounts{
		unacked: uint64(unread),
		closed:  events&(unix.POLLHUP|unix.POLLERR) != 0,
		reset:   events&unix.POLLERR != 0,
	}, nil
}

// socketError returns the pending error of a socket and clears it.
func socketError(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}
