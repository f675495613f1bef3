//go:build linux

package load

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

func readAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(fd, b)
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

// watch makes wait report a descriptor whenever it is readable.
func watch(epoll, fd int) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// wait waits for events and returns those that have occurred, in the given memory.
func wait(epoll int, events []unix.EpollEvent) ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if !errors.Is(err, unix.EINTR) {
			return events[:max(n, 0)], err
		}
	}
}
