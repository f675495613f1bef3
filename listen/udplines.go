package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxDatagram is the longest payload there can be, and some more: what is longer than that of an IPv4 datagram
// (65,507 bytes) comes by IPv6.
const maxDatagram = 65535

// udpListener is a listener for the lines in datagrams; see Open. No line goes on in another datagram. The socket is closed
// once both the listener and the connection are.
type udpListener struct {
	socket   *net.UDPConn
	rc       syscall.RawConn
	guard    *Guard
	deadline *deadline     // for Accept
	free     chan struct{} // holds something while there is no connection
	closing  chan struct{} // closed by Close

	reading sync.Mutex // held by the connection's Read; guards buffer
	buffer  []byte     // has room for one datagram and a newline

	mu     sync.Mutex // guards the fields below
	closed bool
	conn   *udpConn // nil while there is none
}

// openLines opens a udp:// listener for lines.
func openLines(ctx context.Context, s Spec, guard *Guard) (net.Listener, error) {
	socket, err := openUDP(ctx, s)
	if err != nil {
		return nil, err
	}
	return linesOf(socket, guard)
}

// linesOf takes over the socket.
func linesOf(socket *net.UDPConn, guard *Guard) (net.Listener, error) {
	rc, err := socket.SyscallConn()
	if err != nil {
		socket.Close()
		return nil, err
	}
	l := &udpListener{
		socket:   socket,
		rc:       rc,
		guard:    guard,
		deadline: newDeadline(),
		free:     make(chan struct{}, 1),
		closing:  make(chan struct{}),
		buffer:   make([]byte, maxDatagram+1),
	}
	l.free <- struct{}{}
	return l, nil
}

// Accept returns the connection, or waits until the one before it is closed.
func (l *udpListener) Accept() (net.Conn, error) {
	if isClosed(l.closing) {
		return nil, l.failed(net.ErrClosed)
	}
	select {
	case <-l.free:
		return l.connect()
	case <-l.closing:
		return nil, l.failed(net.ErrClosed)
	case <-l.deadline.passed():
		return nil, l.failed(os.ErrDeadlineExceeded)
	}
}

// connect waits for the last Read of the connection before: the deadline that ends it stands until it has returned.
func (l *udpListener) connect() (net.Conn, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, l.failed(net.ErrClosed)
	}
	if err := l.socket.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	l.conn = &udpConn{l: l}
	return l.conn, nil
}

func (l *udpListener) failed(err error) error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// SetDeadline bounds Accept, also one that waits.
func (l *udpListener) SetDeadline(t time.Time) error {
	if isClosed(l.closing) {
		return net.ErrClosed
	}
	l.deadline.set(t)
	return nil
}

// Close ends a waiting Accept, and the connection softly.
func (l *udpListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	close(l.closing)
	l.deadline.set(time.Time{})
	if l.conn == nil {
		return l.socket.Close()
	}
	l.conn.endLocked()
	return nil
}

func (l *udpListener) Addr() net.Addr { return l.socket.LocalAddr() }

// String returns the actual address as a -listen value.
func (l *udpListener) String() string { return schemeUDP + "://" + l.Addr().String() }

// udpConn is what all senders to a udpListener have in common. One goroutine reads, and any may call the other methods.
type udpConn struct {
	l    *udpListener
	rest []byte // in l.buffer: received and not yet returned; guarded by l.reading

	draining bool // guarded by l.reading, as left: what may still be received then, as the kernel counts it
	left     int

	ending, closed bool // guarded by l.mu
}

// Read returns whole datagrams as long as p has room, and a part of the one that does not fit; the next Read goes on
// there. It waits for the first of them only.
func (c *udpConn) Read(p []byte) (int, error) {
	c.l.reading.Lock()
	defer c.l.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		ending, closed := c.state()
		switch {
		case closed:
			return 0, net.ErrClosed
		case len(c.rest) > 0:
			return c.takeRest(p), nil
		case ending:
			return c.drain(p)
		}
		n, err := c.l.wait(c, p)
		ending, closed = c.state()
		switch {
		case n > 0:
			return n, nil
		case err == nil, (ending || closed) && errors.Is(err, os.ErrDeadlineExceeded):
		default:
			return 0, err
		}
	}
}

func (c *udpConn) state() (ending, closed bool) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	return c.ending, c.closed
}

func (c *udpConn) takeRest(p []byte) int {
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n
}

// put appends a datagram of n bytes that lies in the listener's buffer, as lines, to the first have bytes of p, and
// returns how many there are then. What does not fit is kept.
func (c *udpConn) put(p []byte, have, n int) int {
	data := c.l.buffer[:n]
	if data[n-1] != '\n' {
		data = append(data, '\n') // the buffer has room for it
	}
	c.rest = data
	return have + c.takeRest(p[have:])
}

// CloseWrite asks for the soft end; there is no other direction.
func (c *udpConn) CloseWrite() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.endLocked()
	return nil
}

func (c *udpConn) endLocked() {
	c.ending = true
	c.l.socket.SetReadDeadline(past)
}

// Close ends a waiting Read. What is in the socket's buffer is left to the next connection, if the listener is open.
func (c *udpConn) Close() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.l.conn = nil
	if c.l.closed {
		return c.l.socket.Close()
	}
	c.l.socket.SetReadDeadline(past)
	c.l.free <- struct{}{}
	return nil
}

// Write fails: there is nobody in particular to write to.
func (c *udpConn) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: schemeUDP, Addr: c.LocalAddr(), Err: errors.ErrUnsupported}
}

func (c *udpConn) LocalAddr() net.Addr { return c.l.Addr() }

// RemoteAddr returns an address without anything in it: the senders are many.
func (c *udpConn) RemoteAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline is SetReadDeadline.
func (c *udpConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline works as for any net.Conn, for a waiting Read too. In the soft end no Read waits.
func (c *udpConn) SetReadDeadline(t time.Time) error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.ending:
		return nil
	default:
		return c.l.socket.SetReadDeadline(t)
	}
}

// SetWriteDeadline does nothing: no Write waits.
func (c *udpConn) SetWriteDeadline(time.Time) error { return nil }
