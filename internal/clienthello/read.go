package clienthello

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
)

// Await waits until the whole ClientHello of a client has come, and leaves it to be read. It
// returns its size. The error is one of Scan's except ErrIncomplete, ErrProbe, or that of the read
// deadline. Where a connection cannot be looked into, Await returns MaxSize at once.
func Await(conn net.Conn) (size int, err error) {
	size, ok, err := await(conn, func([]byte) error { return nil })
	if !ok {
		return MaxSize, nil
	}
	return size, err
}

// Read is Await that returns the Hello. The caller goes on with the connection that Read returns,
// from which the whole stream can still be read. It is conn itself where that can be looked into.
// If there is an error, it may lack the beginning of its stream.
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

// readAhead is Read for a connection that cannot be looked into.
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
		case n > 0: // the next Read returns the error once more
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
	rest []byte // of the first bytes
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

// CloseWrite ends the stream to the peer, as that of a [net.TCPConn].
func (c *rewound) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is as that of a [net.TCPConn].
func (c *rewound) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return errors.ErrUnsupported
}
