package listen

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// readSize is how much one read takes from standard input at most: what a pipe holds on Linux.
const readSize = 64 << 10

// Stdin returns a listener with one connection, which reads from in: the first Accept returns it, the second returns
// io.EOF at once, and after Close it is net.ErrClosed. Closing the listener leaves the connection as it is. Open uses it
// with os.Stdin.
//
// The connection has deadlines and can be closed at any time, though in need not be able to do either. A Read that has
// nothing left over starts one read of in, beside itself, and waits for it or the deadline; what that read brings after
// the deadline is kept for the next Read. What has been taken from in is returned even when the deadline has passed,
// as it would be lost otherwise; but no more is taken then, and never any that no Read has asked for. A read of in that
// is under way when the connection is closed goes on until in returns, and what it brings is lost; with a silent
// standard input that lasts until the end of the process.
//
// in is not closed, and used by one goroutine at a time.
func Stdin(in io.Reader) net.Listener {
	return &stdinListener{conn: &stdinConn{
		in:       in,
		answers:  make(chan answer, 1), // the reader of in never waits
		closed:   make(chan struct{}),
		deadline: newDeadline(),
	}}
}

type stdinListener struct {
	mu     sync.Mutex // protects the fields below
	conn   *stdinConn // nil once it has been accepted
	closed bool
}

// Accept never blocks; see Stdin.
func (l *stdinListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: stdinAddr{}.Network(), Addr: stdinAddr{}, Err: net.ErrClosed}
	}
	if l.conn == nil {
		return nil, io.EOF
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

// Close ends the listener only; the connection that Accept has returned goes on.
func (l *stdinListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

func (l *stdinListener) Addr() net.Addr { return stdinAddr{} }

// String returns "stdin:".
func (l *stdinListener) String() string { return stdinAddr{}.String() }

type stdinAddr struct{}

func (stdinAddr) Network() string { return "stdin" }
func (stdinAddr) String() string  { return "stdin:" }

// answer is what one read of the input gave.
type answer struct {
	data []byte
	err  error
}

// stdinConn is the one connection. Its methods may be called by any goroutine.
type stdinConn struct {
	in       io.Reader
	answers  chan answer
	closed   chan struct{}
	once     sync.Once
	deadline *deadline

	mu     sync.Mutex // held by Read; protects the fields below
	asked  bool       // a read of in is under way, or its answer waits in answers
	buffer []byte     // belongs to that read while asked
	rest   answer     // what has been read and not yet been returned; its data lie in buffer
}

// Read returns what is left over, or what one read of the input brings; see Stdin.
func (c *stdinConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isClosed(c.closed) {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.rest.data) == 0 && c.rest.err == nil {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	if len(c.rest.data) == 0 {
		return 0, c.rest.err
	}
	n := copy(p, c.rest.data)
	c.rest.data = c.rest.data[n:]
	return n, nil
}

// fill waits for one read of the input, and starts it if none is under way and there is time.
func (c *stdinConn) fill() error {
	passed := c.deadline.passed()
	if !c.asked {
		if isClosed(passed) {
			return os.ErrDeadlineExceeded
		}
		c.ask()
	}
	if len(c.answers) > 0 { // also when the deadline has passed
		passed = nil
	}
	select {
	case c.rest = <-c.answers:
		c.asked = false
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-passed:
		return os.ErrDeadlineExceeded
	}
}

// ask starts one read of the input.
func (c *stdinConn) ask() {
	if c.buffer == nil {
		c.buffer = make([]byte, readSize)
	}
	c.asked = true
	go func(buffer []byte) {
		n, err := c.in.Read(buffer)
		c.answers <- answer{buffer[:n], err}
	}(c.buffer)
}

// Close ends a waiting Read. It does not close the input.
func (c *stdinConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		c.deadline.set(time.Time{})
		err = nil
	})
	return err
}

// CloseWrite does nothing: there is no other direction.
func (c *stdinConn) CloseWrite() error { return nil }

// Write fails: standard input is for reading.
func (c *stdinConn) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: stdinAddr{}.Network(), Addr: stdinAddr{}, Err: errors.ErrUnsupported}
}

func (c *stdinConn) LocalAddr() net.Addr  { return stdinAddr{} }
func (c *stdinConn) RemoteAddr() net.Addr { return stdinAddr{} }

// SetDeadline is SetReadDeadline.
func (c *stdinConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline works as for any net.Conn, for a waiting Read too. Nothing that was read is lost by it.
func (c *stdinConn) SetReadDeadline(t time.Time) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	c.deadline.set(t)
	return nil
}

// SetWriteDeadline does nothing: no Write waits.
func (c *stdinConn) SetWriteDeadline(time.Time) error { return nil }
