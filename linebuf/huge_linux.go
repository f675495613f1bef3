package linebuf

import (
	"syscall"
	"unsafe"
)

const (
	hugePage     = 2 << 20  // bytes, on amd64 and arm64 with 4 KiB pages; elsewhere the hint fits less well
	minHuge      = 64 << 10 // bytes; smaller buffers are not worth the system call
	madvHugepage = 14       // MADV_HUGEPAGE of madvise(2)
)

// adviseHuge asks the kernel to back the memory around b with huge pages, if the system grants them
// on request. Windows cycle through tens of megabytes, and with 4 KiB pages address translation
// took a seventh of the CPU time per byte (a virtual machine, 2 cores). The call is a hint about
// pages of Go's heap: it changes no content, and linesplit works the same if it fails.
func adviseHuge(b []byte) {
	if len(b) < minHuge {
		return
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	start := at &^ (hugePage - 1)
	end := (at + uintptr(len(b)) + hugePage - 1) &^ (hugePage - 1)
	syscall.Syscall(syscall.SYS_MADVISE, start, end-start, madvHugepage)
}
