package udpdrops

import (
	"errors"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Count returns how many datagrams the kernel has dropped at a socket since it was opened, modulo
// 2³², most of all because its receive buffer was full (SO_MEMINFO, Linux 4.12). ok is false if
// that is not known. Receiving costs nothing more for it.
func Count(socket *net.UDPConn) (n uint32, ok bool) {
	const variables, drops = 9, 8 // SK_MEMINFO_VARS, SK_MEMINFO_DROPS
	var info [variables]uint32
	size := uint32(unsafe.Sizeof(info))
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	failed := raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			err = os.NewSyscallError("getsockopt", errno)
		}
	})
	return info[drops], errors.Join(failed, err) == nil && uintptr(size) >= unsafe.Sizeof(info)
}
