package loop

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file bypass the scheduler, so descriptors must be non-blocking. They start
// again after a signal.

// Read is read(2). It returns 0 and nil at the end.
func Read(fd int, b []byte) (int, error) {
	return onBytes(unix.SYS_READ, fd, b)
}

// Write is write(2).
func Write(fd int, b []byte) (int, error) {
	return onBytes(unix.SYS_WRITE, fd, b)
}

func onBytes(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Splice moves up to n bytes between a socket and a pipe: splice(2) without waiting.
func Splice(from, to, n int) (int, error) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if errno == 0 {
			return int(moved), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Peek returns nil if there is something to read or the peer has ended, unix.EAGAIN if neither, and
// otherwise the error that broke the connection.
func Peek(fd int) error {
	var b [1]byte
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1,
			unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// readable reports whether a read, or an accept, has something to return, be it an error. To find
// out by an accept takes ten times as long: the kernel makes the new socket first.
func readable(fd int) bool {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	var noWait unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1,
		uintptr(unsafe.Pointer(&noWait)), 0, 0, 0)
	return n > 0 || errno != 0
}

// Unacknowledged returns the number of bytes in a socket's send queue, a FIN included (SIOCOUTQ).
func Unacknowledged(fd int) (int, error) {
	var n int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// SetOption sets an integer option of a socket.
func SetOption(fd, level, option, value int) error {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// KeepUrgent keeps urgent data (MSG_OOB) where its sender has written it, in the stream of a
// socket.
func KeepUrgent(fd int) { SetOption(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) }

// setLinger makes the close of a TCP socket a reset. On other sockets it has no effect.
func setLinger(fd int) {
	l := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
}

// socketError returns and clears the pending error of a socket.
func socketError(fd int) error {
	var v int32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case errno != 0:
		return errno
	case v != 0:
		return unix.Errno(v)
	}
	return nil
}

func shutdown(fd, how int) {
	unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0)
}

// Close closes a descriptor that is on no loop.
func Close(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
