//go:build unix

package urgent

import (
	"os"

	"golang.org/x/sys/unix"
)

func inline(fd uintptr) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	if err == unix.EOPNOTSUPP { // Multipath TCP, which has no urgent data
		return nil
	}
	return os.NewSyscallError("setsockopt SO_OOBINLINE", err)
}
