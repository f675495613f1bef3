package listen

import (
	"errors"
	"net"

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

func onSocket(socket *net.UDPConn, do func(fd int) error) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(failed, err)
}
