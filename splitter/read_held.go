package splitter

import (
	"time"

	"linesplit/linebuf"
)

// heldReader reads a connection whose Read has to be given a buffer before there is anything to read: TLS, and
// whatever has no descriptor. As long as such a connection is quiet, this is a small buffer. Once a read has filled
// it the connection is awake and gets a real one, until nothing has come for quietAfter.
type heldReader struct {
	on     bool
	awake  bool
	active bool // something came since the deadline was set
}

const (
	quietAfter = time.Second
	smallRead  = 256 // the least room of a small buffer
)

func (c *conn) readHeld() (int, error) {
	h := &c.held
	small := !h.awake && c.fitSmall()
	if !small && !c.fit() {
		if err := c.makeRoom(); err != nil {
			return 0, err
		}
	}
	b := c.buf.B
	n, err := c.nc.Read(b[len(b):cap(b)])
	h.active = h.active || n > 0
	if small && len(b)+n == cap(b) {
		h.awake = true
		c.lapsed = true // has the deadline set
	}
	return n, err
}

// fitSmall provides a buffer for a quiet connection, beside the budget if need be: it is not what fills the memory.
func (c *conn) fitSmall() bool {
	n := c.carried()
	if c.buf != nil && cap(c.buf.B)-n >= smallRead {
		return true
	}
	if n+smallRead > c.v.o.ReadSize {
		return false
	}
	c.adopt(c.v.pool.MustGet(linebuf.ClassSize(n + smallRead)))
	return true
}

// deadline returns when to look whether the connection has gone quiet. lapsed says that the last such time has come.
func (h *heldReader) deadline(c *conn, now time.Time, lapsed bool) time.Time {
	if !h.on || !h.awake {
		return time.Time{}
	}
	if lapsed && !h.active {
		h.awake = false
		c.park()
		return time.Time{}
	}
	h.active = false
	return now.Add(quietAfter)
}
