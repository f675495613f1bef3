package loop

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FD is a descriptor on a loop. The zero value is not open. It is meant to be a field of its
// handler, and must not be copied. Unless they say otherwise, its methods may be called only on its
// loop's goroutine.
type FD struct {
	loop *Loop
	ref
}

// Adopt puts a non-blocking descriptor on the loop, which owns it from then on, and lets h be
// called for its events. It may be called on any goroutine, and h.Ready may run before Adopt
// returns. A connected socket is writable at first, so h is called soon. If Adopt returns an error,
// the descriptor is still the caller's.
func (l *Loop) Adopt(d *FD, fd int, h Handler) error { return l.adopt(d, fd, h, allEvents) }

func (l *Loop) adopt(d *FD, fd int, h Handler, events uint32) error {
	e := l.group.table.grow(fd)
	if e == nil {
		return errTooMany
	}
	gen := e.prepare(h)
	d.loop, d.ref = l, ref{int32(fd), gen}
	e.publish(gen)
	l.count.Add(1)
	if err := l.poller.add(fd, gen, events); err != nil {
		d.leave()
		return err
	}
	return nil
}

// IsOpen reports whether the FD has a descriptor.
func (d *FD) IsOpen() bool { return d.gen != 0 }

// Int returns the number of the descriptor, for system calls. They must not block.
func (d *FD) Int() int { return int(d.fd) }

// Again lets the handler be called in the next turn, after those that are in the queue now. It does
// nothing if the FD is not open.
func (d *FD) Again() {
	if d.gen != 0 {
		d.loop.enqueue(d.ref, 0)
	}
}

// leave ends the registration with the loop's table.
func (d *FD) leave() {
	d.loop.group.table.at(d.fd).leave()
	d.loop.count.Add(-1)
	d.loop, d.ref = nil, ref{}
}

// Release takes the descriptor off the loop and returns it, still open. The caller closes it.
func (d *FD) Release() int {
	fd := int(d.fd)
	d.loop.poller.remove(fd)
	d.leave()
	return fd
}

// Close closes the descriptor. It does nothing if the FD is not open.
func (d *FD) Close() {
	if d.gen == 0 {
		return
	}
	fd := int(d.fd)
	d.leave()
	Close(fd)
}

// Reset closes a socket so that a TCP peer sees a reset. It does nothing if the FD is not open.
func (d *FD) Reset() {
	if d.gen == 0 {
		return
	}
	setLinger(int(d.fd))
	d.Close()
}

// Reset closes a socket that is on no loop so that a TCP peer sees a reset.
func Reset(fd int) {
	setLinger(fd)
	Close(fd)
}

// Read reads what there is. It returns io.EOF at the end, and unix.EAGAIN if there is nothing.
func (d *FD) Read(b []byte) (int, error) {
	n, err := Read(int(d.fd), b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write writes as much as the socket takes: unix.EAGAIN if it takes nothing.
func (d *FD) Write(b []byte) (int, error) { return Write(int(d.fd), b) }

// CloseWrite half-closes a socket.
func (d *FD) CloseWrite() { shutdown(int(d.fd), unix.SHUT_WR) }

// ConnectError returns nil if the connect has succeeded; see Loop.Connect. Later it returns the
// error that broke the connection, but only once.
func (d *FD) ConnectError() error { return socketError(int(d.fd)) }

// detachable is a *net.TCPConn, *net.TCPListener or their Unix counterparts.
type detachable interface {
	syscall.Conn
	io.Closer
}

// Detach takes a connection or listener of package net out of the runtime's poller, which would
// wake up for each of its events. It returns a new descriptor for the socket, non-blocking and not
// inherited by programs, and closes c. If it returns an error, c is still open.
func Detach(c detachable) (int, error) {
	fd, err := duplicate(c)
	if err == nil {
		c.Close() // the socket stays open under the new descriptor
	}
	return fd, err
}

func duplicate(c syscall.Conn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := rc.Control(func(old uintptr) { fd, err = Duplicate(int(old)) })
	if failed != nil {
		return -1, failed
	}
	return fd, err
}

// Duplicate returns another descriptor of the same socket, not inherited by programs.
func Duplicate(fd int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// Attach is the reverse of Detach: it makes a net.Conn of a socket. It takes the descriptor over.
// If it returns an error, which needs no more than a shortage of descriptors, a TCP peer sees a
// reset.
func Attach(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // FileConn has a descriptor of its own
	nc, err := net.FileConn(f)
	if err != nil {
		setLinger(fd)
	}
	return nc, err
}
