package listen

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// readSize is the maximum size of a read from standard input: the capacity of a pipe on Linux.
const readSize = 64 << 10

// Stdin returns a listener with one connection, which reads from in. The first Accept returns the
// connection, the second returns io.EOF at once, and after Close the error is net.ErrClosed.
// Closing the listener does not affect the connection. Open uses Stdin with os.Stdin.
//
// The connection has deadlines and can be closed at any time, though in may support neither. A Read
// without buffered data starts one read of in, in another goroutine, and waits for it or the
// deadline; data that arrives after the deadline is kept for the next Read. Data taken from in is
// returned even if the deadline has passed, as it would be lost otherwise. No data is taken after
// the deadline, or without a Read. A read of in that is in progress when the connection is closed
// goes on until in returns, and its data is lost; with a silent standard input it lasts until the
// end of the process.
//
// in is not closed, and only one goroutine at a time uses it.
func Stdin(in io.Reader) net.Listener {
	return &stdinListener{conn: &stdinConn{
		in:       in,
		results:  make(chan readResult, 1), // so that the reader of in never waits
		closed:   make(chan struct{}),
		deadline: newDeadline(),
	}}
}

type stdinListener struct {
	use

	mu     sync.Mutex // guards the fields below
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

// Close closes the listener only, not the connection that Accept has returned.
func (l *stdinListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

func (l *stdinListener) Addr() net.Addr { return stdinAddr{} }

// String returns "stdin:", with the framing if that is another than lines.
func (l *stdinListener) String() string { return stdinAddr{}.String() + l.suffix() }

type stdinAddr struct{}

func (stdinAddr) Network() string { return "stdin" }
func (stdinAddr) String() string  { return "stdin:" }

// readResult is the result of one read of the input.
type readResult struct {
	data []byte
	err  error
}

// stdinConn is the one connection. Its methods are safe for concurrent use.
type stdinConn struct {
	in       io.Reader
	results  chan readResult
	closed   chan struct{}
	once     sync.Once
	deadline *deadline

	mu      sync.Mutex // held by Read; guards the fields below
	reading bool       // a read of in is in progress, or its result is in results
	buffer  []byte     // belongs to that read while reading is true
	rest    readResult // read and not yet returned; its data is in buffer
}

// Read returns buffered data, or the data of one read of the input; see Stdin.
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

// fill waits for one read of the input. It starts one if none is in progress and the deadline has
// not passed.
func (c *stdinConn) fill() error {
	passed := c.deadline.passed()
	if !c.reading {
		if isClosed(passed) {
			return os.ErrDeadlineExceeded
		}
		c.startRead()
	}
	if len(c.results) > 0 { // return the data even if the deadline has passed
		passed = nil
	}
	select {
	case c.rest = <-c.results:
		c.reading = false
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-passed:
		return os.ErrDeadlineExceeded
	}
}

// startRead starts one read of the input.
func (c *stdinConn) startRead() {
	if c.buffer == nil {
		c.buffer = make([]byte, readSize)
	}
	c.reading = true
	go func(buffer []byte) {
		n, err := c.in.Read(buffer)
		c.results <- readResult{buffer[:n], err}
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

// CloseWrite does nothing: the connection only reads.
func (c *stdinConn) CloseWrite() error { return nil }

// Write returns errors.ErrUnsupported: the connection only reads.
func (c *stdinConn) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: stdinAddr{}.Network(), Addr: stdinAddr{}, Err: errors.ErrUnsupported}
}

func (c *stdinConn) LocalAddr() net.Addr  { return stdinAddr{} }
func (c *stdinConn) RemoteAddr() net.Addr { return stdinAddr{} }

// SetDeadline is SetReadDeadline.
func (c *stdinConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline works as for any net.Conn, also for a waiting Read. No data is lost.
func (c *stdinConn) SetReadDeadline(t time.Time) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	c.deadline.set(t)
	return nil
}

// SetWriteDeadline does nothing: no Write waits.
func (c *stdinConn) SetWriteDeadline(time.Time) error { return nil }
