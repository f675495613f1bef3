package splitter

import (
	"time"

	"linesplit/linebuf"
)

// heldReader reads a connection whose Read needs a buffer before there is anything to read: TLS,
// and connections without a descriptor. While the connection is quiet, this is a small buffer. Once
// a read has filled it, the connection is awake and gets a full-size buffer, until nothing has come
// for quietAfter.
type heldReader struct {
	on     bool
	awake  bool
	active bool // bytes have come since the deadline was set
}

const (
	quietAfter = time.Second
	smallRead  = 256 // the minimum room in a small buffer, in bytes
)

func (c *conn) readHeld() (int, error) {
	h := &c.held
	small := !h.awake && c.ensureSmall()
	if !small && !c.ensure() {
		if err := c.makeRoom(); err != nil {
			return 0, err
		}
	}
	b := c.buf.B
	n, err := c.nc.Read(b[len(b):cap(b)])
	h.active = h.active || n > 0
	if small && len(b)+n == cap(b) {
		h.awake = true
		c.lapsed = true // run then sets the deadline
	}
	return n, err
}

// ensureSmall provides a buffer for a quiet connection. It may exceed the budget: such small
// buffers do not fill the memory.
func (c *conn) ensureSmall() bool {
	n := c.carried()
	if c.buf != nil && cap(c.buf.B)-n >= smallRead {
		return true
	}
	if n+smallRead > c.v.o.ReadSize {
		return false
	}
	c.replace(c.v.pool.MustGet(linebuf.ClassSize(n + smallRead)))
	return true
}

// deadline returns the time at which to check whether the connection has gone quiet, or zero for
// never. lapsed reports whether the last such time has passed.
func (h *heldReader) deadline(c *conn, now time.Time, lapsed bool) time.Time {
	if !h.on || !h.awake {
		return time.Time{}
	}
	if lapsed && !h.active {
		h.awake = false
		c.release()
		return time.Time{}
	}
	h.active = false
	return now.Add(quietAfter)
}
