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

// maxDatagram is the maximum payload of a datagram in bytes, and some more. IPv4 allows 65,507
// bytes, IPv6 more.
const maxDatagram = 65535

// udpListener is a listener for the lines in datagrams; see Open. A line never continues in another
// datagram. The socket is closed once both the listener and the connection are.
type udpListener struct {
	socket   *net.UDPConn
	counter  *datagramCounter // of socket
	rc       syscall.RawConn
	guard    *Guard
	deadline *deadline     // for Accept
	free     chan struct{} // holds an element while there is no connection
	closing  chan struct{} // closed by Close

	reading sync.Mutex // held by the connection's Read; guards buffer
	buffer  []byte     // has room for one datagram and a newline

	mu     sync.Mutex // guards the fields below
	closed bool
	conn   *udpConn // nil while there is no connection
}

// openUDPLines opens a udp:// listener for lines.
func openUDPLines(ctx context.Context, s Spec, guard *Guard) (net.Listener, error) {
	socket, err := openUDP(ctx, s)
	if err != nil {
		return nil, err
	}
	return newUDPListener(newDatagramCounter(socket, receiveBuffer), guard)
}

// newUDPListener takes ownership of the counter's socket.
func newUDPListener(counter *datagramCounter, guard *Guard) (net.Listener, error) {
	socket := counter.socket
	rc, err := socket.SyscallConn()
	if err != nil {
		socket.Close()
		return nil, err
	}
	l := &udpListener{
		socket:   socket,
		counter:  counter,
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

// Accept returns a connection, once the previous one is closed.
func (l *udpListener) Accept() (net.Conn, error) {
	if isClosed(l.closing) {
		return nil, l.acceptError(net.ErrClosed)
	}
	select {
	case <-l.free:
		return l.newConn()
	case <-l.closing:
		return nil, l.acceptError(net.ErrClosed)
	case <-l.deadline.passed():
		return nil, l.acceptError(os.ErrDeadlineExceeded)
	}
}

// newConn first waits for the last Read of the previous connection: the deadline that ends it must
// not be reset before it has returned.
func (l *udpListener) newConn() (net.Conn, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, l.acceptError(net.ErrClosed)
	}
	if err := l.socket.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	l.conn = &udpConn{l: l}
	return l.conn, nil
}

func (l *udpListener) acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
}

// SetDeadline sets the deadline of Accept, also of a waiting one.
func (l *udpListener) SetDeadline(t time.Time) error {
	if isClosed(l.closing) {
		return net.ErrClosed
	}
	l.deadline.set(t)
	return nil
}

// Close ends a waiting Accept, and ends the connection softly; see Open.
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
		return l.counter.close()
	}
	l.conn.endLocked()
	return nil
}

func (l *udpListener) Addr() net.Addr { return l.socket.LocalAddr() }

func (l *udpListener) datagrams() DatagramCounts { return l.counter.datagrams() }

func (l *udpListener) passOn() { l.counter.stop() }

// String returns the actual address as a -listen value.
func (l *udpListener) String() string { return schemeUDP + "://" + l.Addr().String() }

// udpConn is the connection with the lines of all senders to a udpListener. One goroutine may call
// Read; the other methods are safe for concurrent use.
type udpConn struct {
	l    *udpListener
	rest []byte // part of l.buffer that is received and not yet returned; guarded by l.reading

	draining bool // guarded by l.reading
	left     int  // bytes that may still be received while draining, as the kernel counts them; guarded by l.reading

	ending, closed bool // guarded by l.mu
}

// Read returns whole datagrams as long as p has room, and a part of the one that does not fit; the
// next Read continues it. It waits only for the first datagram.
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

// appendDatagram appends the datagram of n bytes in the listener's buffer, as lines, to the first
// have bytes of p. It returns the new length, and keeps what does not fit.
func (c *udpConn) appendDatagram(p []byte, have, n int) int {
	data := c.l.buffer[:n]
	if data[n-1] != '\n' {
		data = append(data, '\n') // the buffer has room for it
	}
	c.rest = data
	return have + c.takeRest(p[have:])
}

// CloseWrite ends the connection softly; see Open. The connection only reads.
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

// Close ends a waiting Read. Datagrams in the socket's buffer are left to the next connection, if
// the listener is open.
func (c *udpConn) Close() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.l.conn = nil
	if c.l.closed {
		return c.l.counter.close()
	}
	c.l.socket.SetReadDeadline(past)
	c.l.free <- struct{}{}
	return nil
}

// Write returns errors.ErrUnsupported: there is no single peer to write to.
func (c *udpConn) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: schemeUDP, Addr: c.LocalAddr(), Err: errors.ErrUnsupported}
}

func (c *udpConn) LocalAddr() net.Addr { return c.l.Addr() }

// RemoteAddr returns an empty address, since there are many senders.
func (c *udpConn) RemoteAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline is SetReadDeadline.
func (c *udpConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline works as for any net.Conn, also for a waiting Read. After a soft end it does
// nothing, since Read no longer waits.
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
