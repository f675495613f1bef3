//go:build unix

package sink

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenerOptions sets the options of a listener that its connections inherit. On a connection,
// they would be set after the first window was offered.
func listenerOptions(o Options) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var errs []error
		err := c.Control(func(fd uintptr) {
			if o.Buffer > 0 {
				errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, o.Buffer))
			}
			if o.Segment > 0 {
				errs = append(errs, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, o.Segment))
			}
		})
		return errors.Join(append(errs, err)...)
	}
}

// setBacklog changes the backlog of an open listener.
func setBacklog(ln net.Listener, n int) error {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), n) })
	return errors.Join(controlErr, err)
}

// setReceiveBuffer sets the size of a connection's receive buffer in bytes.
func setReceiveBuffer(c net.Conn, size int) error {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	})
	return errors.Join(controlErr, err)
}

// CloseListener closes ln and makes its socket refuse connections from now on, even if another
// process holds a descriptor of it. Close alone does not do that: a process that this one is
// starting has copies of all descriptors until it executes its program. Until then the socket
// would go on listening, and reset the connections that it accepts.
func CloseListener(ln net.Listener) {
	if c, ok := ln.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RD) })
		}
	}
	ln.Close()
}
