//go:build linux

package load

import (
	"errors"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file block a thread without telling Go's scheduler, which would wake another
// thread of this process each time. A goroutine that makes them keeps its processor (in the sense
// of GOMAXPROCS) and does not stop for the garbage collector.

// allowRaw prepares the process for a number of goroutines that make raw calls most of the time. It
// does without the garbage collector from then on.
func allowRaw(goroutines int) {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + goroutines)
}

func rawRead(fd int, b []byte) (int, error) {
	return rawCall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

func rawWrite(fd int, b []byte) (int, error) {
	return rawCall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// rawDiscard takes up to len(b) bytes from a TCP socket without copying them into b.
func rawDiscard(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

//go:uintptrescapes
func rawCall(call uintptr, fd int, memory uintptr, n int) (int, error) {
	done, _, errno := unix.RawSyscall(call, uintptr(fd), memory, uintptr(n))
	if errno != 0 {
		return -1, errno
	}
	return int(done), nil
}

// rawWait waits for events and returns those that have occurred, in the given memory.
func rawWait(epoll int, events []unix.EpollEvent) ([]unix.EpollEvent, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
			uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), ^uintptr(0), 0, 0)
		switch {
		case errno == 0:
			return events[:n], nil
		case !errors.Is(errno, unix.EINTR):
			return nil, errno
		}
	}
}

// rawSleepUntil sleeps until a time of the monotonic clock.
func rawSleepUntil(due unix.Timespec) {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME,
			uintptr(unsafe.Pointer(&due)), 0, 0, 0)
		if errno != unix.EINTR {
			return
		}
	}
}
