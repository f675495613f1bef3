//go:build unix

package listen

import (
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// maxReceives is the maximum number of datagrams received in one call, so that a flood of
	// dropped datagrams does not hold up Close.
	maxReceives = 256
	// minDatagramCost is less than what the kernel counts for a datagram in the socket's buffer
	// besides its payload, in bytes.
	minDatagramCost = 256
	// maxExcess is the number of bytes by which the kernel may exceed a buffer's size: it admits
	// the last datagrams before it counts them.
	maxExcess = 2 * (maxDatagram + 1)
)

// wait waits for the first datagram, and takes the ones after it that have arrived and fit into p.
// It may return 0 and no error.
func (l *udpListener) wait(c *udpConn, p []byte) (n int, err error) {
	var fillErr error
	err = l.rc.Read(func(fd uintptr) bool {
		var empty bool
		n, empty, fillErr = c.fill(int(fd), p)
		return n > 0 || !empty || fillErr != nil
	})
	if err == nil {
		err = fillErr
	}
	return n, err
}

// drain returns the datagrams in the socket's buffer, and io.EOF once it is empty. Datagrams that
// keep arriving do not delay the end: drain takes no more than the buffer can have held when the
// soft end began.
func (c *udpConn) drain(p []byte) (n int, err error) {
	ctlErr := c.l.rc.Control(func(fd uintptr) {
		if !c.draining {
			c.draining = true
			c.left, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
			c.left += maxExcess
		}
		for empty := false; err == nil && n == 0 && !empty && c.left > 0; {
			n, empty, err = c.fill(int(fd), p)
		}
	})
	switch {
	case n > 0:
		return n, nil
	case ctlErr != nil:
		return 0, ctlErr
	case err != nil:
		return 0, err
	default:
		return 0, io.EOF
	}
}

// fill receives datagrams into p until it is full, or until there are no more, in which case empty
// is true.
func (c *udpConn) fill(fd int, p []byte) (n int, empty bool, err error) {
	for range maxReceives {
		checkSender := c.l.guard.restricts() // else the sender is not needed
		size, from, err := receive(fd, c.l.buffer[:maxDatagram], checkSender)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			return n, true, nil
		default:
			return n, false, os.NewSyscallError("recvfrom", err)
		}
		c.left -= size + minDatagramCost
		if size > 0 && (!checkSender || c.l.guard.admits(from)) {
			n = c.appendDatagram(p, n, size)
		}
		if n == len(p) || c.draining && c.left <= 0 {
			break
		}
	}
	return n, false, nil
}

// receive takes the next datagram. It returns the sender's address only if wantSender is true,
// since that costs an allocation.
func receive(fd int, p []byte, wantSender bool) (n int, from netip.AddrPort, err error) {
	if !wantSender {
		n, err = unix.Read(fd, p)
		return n, from, err
	}
	n, sender, err := unix.Recvfrom(fd, p, 0)
	switch a := sender.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		from = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return n, from, err
}
