package listen

import (
	"errors"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setReceiveBuffer asks for a receive buffer beyond net.core.rmem_max, which takes CAP_NET_ADMIN,
// and otherwise for as much as there may be.
func setReceiveBuffer(socket *net.UDPConn, size int) error {
	err := onSocket(socket, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
	})
	if err == nil {
		return nil
	}
	return socket.SetReadBuffer(size)
}

// receiveBufferOf returns what was granted. The kernel doubles it, for its own structures.
func receiveBufferOf(socket *net.UDPConn) (size int) {
	onSocket(socket, func(fd int) (err error) {
		size, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		return err
	})
	return size / 2
}

// kernelDrops returns how many datagrams the kernel has dropped at a socket (SO_MEMINFO, Linux
// 4.12). It costs nothing while datagrams are received.
func kernelDrops(socket *net.UDPConn) (n uint32, ok bool) {
	const variables, drops = 9, 8 // SK_MEMINFO_VARS, SK_MEMINFO_DROPS
	var info [variables]uint32
	size := uint32(unsafe.Sizeof(info))
	err := onSocket(socket, func(fd int) error {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return os.NewSyscallError("getsockopt", errno)
		}
		return nil
	})
	return info[drops], err == nil && uintptr(size) >= unsafe.Sizeof(info)
}

func onSocket(socket *net.UDPConn, do func(fd int) error) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(failed, err)
}
