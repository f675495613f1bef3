package splitter

import (
	"crypto/tls"
	"io"
	"net"

	"linesplit/internal/intake"
)

// arrivals is a connection below TLS that lets a read take all records that have arrived.
type arrivals interface {
	ReadArrived(t io.Reader, p []byte) (int, error)
}

// readerOf returns what reads nc: its Read method, or ReadArrived of the connection below its TLS.
func readerOf(nc net.Conn) func([]byte) (int, error) {
	if t, ok := nc.(*tls.Conn); ok {
		if a, ok := t.NetConn().(arrivals); ok {
			return func(p []byte) (int, error) { return a.ReadArrived(t, p) }
		}
	}
	return nc.Read
}

// readHeld reads a connection whose Read needs a buffer before there is anything to read: TLS, and
// connections without a descriptor. While the stream is quiet and carries nothing, this is the
// small one. A read that fills its room wakes the stream.
func (c *conn) readHeld() (int, error) {
	for c.in.Prepare() == intake.Starved {
		if _, err := c.makeRoom(); err != nil {
			return 0, err
		}
	}
	into := c.in.Room()
	if into == nil {
		into = c.small
	}
	n, err := c.readInto(into)
	if !c.in.Awake() && n == len(into) {
		c.in.Wake()
		c.lapsed = true // run then sets the deadline
	}
	if n > 0 && c.in.Room() == nil {
		c.in.Fill(into[:n])
	}
	return n, err
}
