package clienthello

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
)

// Await waits until the whole ClientHello of a client has arrived, and returns its size in bytes.
// It consumes nothing: the caller reads the stream from its beginning. The error is one of Scan's
// other than ErrIncomplete, or ErrProbe, or an error of the connection, such as a passed read
// deadline. Where Await cannot peek at a connection, it returns MaxSize at once.
func Await(conn net.Conn) (size int, err error) {
	size, ok, err := await(conn, func([]byte) error { return nil })
	if !ok {
		return MaxSize, nil
	}
	return size, err
}

// Read waits as Await does, and returns the ClientHello. The caller goes on with the connection
// whole, from which the whole stream can still be read. It is conn itself if Read can peek at conn.
// After an error, whole may lack the beginning of its stream.
func Read(conn net.Conn) (h Hello, whole net.Conn, err error) {
	_, ok, err := await(conn, func(b []byte) (err error) {
		h, err = Parse(b)
		return err
	})
	if ok {
		return h, conn, err
	}
	return readAhead(conn)
}

// readAhead is Read for a connection at which it cannot peek: it reads the ClientHello, and returns
// a connection that yields the same bytes once more.
func readAhead(conn net.Conn) (Hello, net.Conn, error) {
	const step = 2 << 10
	var b []byte
	for {
		h, err := Parse(b)
		if !errors.Is(err, ErrIncomplete) {
			return h, &rewound{Conn: conn, rest: b}, err
		}
		b = slices.Grow(b, step)
		n, err := conn.Read(b[len(b):min(cap(b), MaxStream)])
		b = b[:len(b)+n]
		switch {
		case n > 0: // if there was an error, the next Read returns it once more
		case len(b) == 0 && (err == io.EOF || errors.Is(err, syscall.ECONNRESET)):
			return Hello{}, conn, ErrProbe
		case err == io.EOF:
			return Hello{}, conn, fmt.Errorf("the connection ended within its ClientHello: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return Hello{}, conn, fmt.Errorf("%d bytes of an unfinished ClientHello have come: %w", len(b), err)
		}
	}
}

// rewound is a connection whose first bytes have been read.
type rewound struct {
	net.Conn
	rest []byte // the first bytes that have yet to be returned
}

// Read implements [net.Conn].
func (c *rewound) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	if len(c.rest) == 0 {
		c.rest = nil
	}
	return n, nil
}

// CloseWrite ends the stream to the peer, like CloseWrite of a [net.TCPConn].
func (c *rewound) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is like SetLinger of a [net.TCPConn].
func (c *rewound) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}
