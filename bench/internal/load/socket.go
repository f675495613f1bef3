//go:build linux

package load

import (
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// writeAll writes to a blocking descriptor, by raw calls.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := rawWrite(fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// readAll fills b from a blocking descriptor, by raw calls.
func readAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := rawRead(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}

// blocking returns a blocking descriptor for a connection and closes the connection itself. The
// caller closes the descriptor.
func blocking(c *net.TCPConn) (int, error) {
	f, err := c.File() // another descriptor for the same socket
	if err != nil {
		return 0, err
	}
	fd, err := unix.Dup(int(f.Fd()))
	f.Close()
	c.Close()
	if err != nil {
		return 0, err
	}
	return fd, unix.SetNonblock(fd, false)
}

// listenNonblocking returns a listening socket on the loopback, whose accept does not block, and its
// address.
func listenNonblocking() (fd int, addr string, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, "", err
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return 0, "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, "", err
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

// watch makes rawWait report a descriptor whenever it is readable.
func watch(epoll, fd int) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}
