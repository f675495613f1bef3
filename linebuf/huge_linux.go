package linebuf

import (
	"syscall"
	"unsafe"
)

const (
	hugePage = 2 << 20 // of amd64 and arm64 with 4 KiB pages; elsewhere the advice is merely less to the point
	// hugeFrom is from what size on buffers are worth the call, in bytes.
	hugeFrom     = 64 << 10
	madvHugepage = 14 // MADV_HUGEPAGE of madvise(2)
)

// adviseHuge asks the kernel to back the memory around b with huge pages, where they are to be had for the asking. Windows cycle
// through tens of megabytes, and in 4 KiB pages a seventh of the CPU time per byte went into address translation (a virtual
// machine, 2 cores). It is a hint about pages of Go's heap, changes no content, and its failure changes nothing.
func adviseHuge(b []byte) {
	if len(b) < hugeFrom {
		return
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	start := at &^ (hugePage - 1)
	end := (at + uintptr(len(b)) + hugePage - 1) &^ (hugePage - 1)
	syscall.Syscall(syscall.SYS_MADVISE, start, end-start, madvHugepage)
}
