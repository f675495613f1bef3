package target

import (
	"syscall"
	"unsafe"
)

// writeNow is write(2) on a non-blocking descriptor. It does not tell the scheduler, which would
// cost more than the write of a short line.
func writeNow(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
