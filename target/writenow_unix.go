//go:build unix && !linux

package target

import "syscall"

// writeNow is write(2) on a non-blocking descriptor.
func writeNow(fd int, p []byte) (int, error) { return syscall.Write(fd, p) }
