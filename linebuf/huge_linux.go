package linebuf

import (
	"syscall"
	"unsafe"
)

const (
	hugePage     = 2 << 20  // on amd64, and arm64 with 4 KiB pages; elsewhere the advice only fits less well
	minHuge      = 64 << 10 // smaller buffers are not worth the system call
	madvHugepage = 14       // MADV_HUGEPAGE of madvise(2)
)

// adviseHuge asks the kernel to back the memory around b with huge pages, where it grants them on
// request. Windows cycle through tens of megabytes, and with 4 KiB pages a seventh of the CPU time
// per byte went into address translation (a virtual machine, 2 cores). The call is a hint about
// pages of Go's heap: it changes no content, and its failure changes nothing.
func adviseHuge(b []byte) {
	if len(b) < minHuge {
		return
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	start := at &^ (hugePage - 1)
	end := (at + uintptr(len(b)) + hugePage - 1) &^ (hugePage - 1)
	syscall.Syscall(syscall.SYS_MADVISE, start, end-start, madvHugepage)
}
