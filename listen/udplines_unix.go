//go:build unix

package listen

import (
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// mostAtOnce is how many datagrams are received in one go, so that a flood of what is dropped holds up no Close.
	mostAtOnce = 256
	// datagramCost is less than what the kernel counts for a datagram in the socket's buffer besides its payload.
	datagramCost = 256
	// overdraft is by how much the kernel may let a buffer exceed its size: the last datagrams are let in before they count.
	overdraft = 2 * (maxDatagram + 1)
)

// wait waits for the first datagram, and takes those behind it that are there and fit into p. It may return 0 and no
// error.
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

// drain returns what is in the socket's buffer, and io.EOF once nothing is. What goes on arriving does not keep it from
// its end: it takes no more than what the buffer can have held when the end was asked for.
func (c *udpConn) drain(p []byte) (n int, err error) {
	ctlErr := c.l.rc.Control(func(fd uintptr) {
		if !c.draining {
			c.draining = true
			c.left, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
			c.left += overdraft
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

// fill receives datagrams into p until it is full, or until there are no more: then empty is true.
func (c *udpConn) fill(fd int, p []byte) (n int, empty bool, err error) {
	for range mostAtOnce {
		asked := c.l.guard.restricts() // else nobody is told from whom it is
		size, from, err := receive(fd, c.l.buffer[:maxDatagram], asked)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			return n, true, nil
		default:
			return n, false, os.NewSyscallError("recvfrom", err)
		}
		c.left -= size + datagramCost
		if size > 0 && (!asked || c.l.guard.admits(from)) {
			n = c.put(p, n, size)
		}
		if n == len(p) || c.draining && c.left <= 0 {
			break
		}
	}
	return n, false, nil
}

// receive takes the next datagram. It tells the sender's address only if that is wanted, as it costs an allocation.
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
