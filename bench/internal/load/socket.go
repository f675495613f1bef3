//go:build linux

package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

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

// listenNonblocking listens on an IPv4 address, and returns a socket whose accept does not block
// and its address with the port.
func listenNonblocking(addr string) (fd int, bound string, err error) {
	if fd, bound, err = bindNonblocking(addr); err != nil {
		return 0, "", err
	}
	return fd, bound, unix.Listen(fd, unix.SOMAXCONN)
}

// bindNonblocking returns a socket for listenNonblocking that does not listen yet: the kernel keeps
// its port and refuses connections to it.
func bindNonblocking(addr string) (fd int, bound string, err error) {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, "", err
	}
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: want.Addr().As4(), Port: int(want.Port())}); err != nil {
		return 0, "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, "", err
	}
	port := uint16(name.(*unix.SockaddrInet4).Port)
	return fd, netip.AddrPortFrom(want.Addr(), port).String(), nil
}

// acceptOne accepts a connection for a listener of listenNonblocking. ok is false if the connection
// has gone again.
func acceptOne(ln int) (fd int, ok bool, err error) {
	fd, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("accept: %w", err)
	}
	return fd, true, nil
}

// watch makes rawWait report a descriptor whenever it is readable.
func watch(epoll, fd int) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}
