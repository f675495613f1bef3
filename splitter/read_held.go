package splitter

import (
	"time"

	"linesplit/linebuf"
)

// heldReader reads a connection whose Read needs a buffer before there is anything to read: TLS,
// and connections without a descriptor. While the connection is quiet, this is the small buffer, or
// the room behind its unfinished line. Once a read has filled that, the connection is awake and gets
// a full-size buffer, until nothing has come for quietAfter. Where too many connections are awake,
// it stays quiet, and reads go on with less at a time.
type heldReader struct {
	small  []byte // nil for connections that are read through a descriptor
	awake  bool
	charge int64 // the charge for the read buffer, in awakeBudget; 0 if not awake
	active bool  // bytes have come since the deadline was set
}

const (
	quietAfter = time.Second
	smallRead  = 512 // size of the small buffer in bytes, which is in no budget
)

func (c *conn) readHeld() (int, error) {
	h := &c.held
	into, err := c.heldRoom()
	if err != nil {
		return 0, err
	}
	n, err := c.nc.Read(into)
	h.active = h.active || n > 0
	if !h.awake && n == len(into) {
		h.awake = true
		c.lapsed = true // run then sets the deadline
	}
	if n > 0 && c.buf == nil {
		c.buf = c.v.pool.MustGet(n)
		copy(c.buf.B[:n], into)
	}
	return n, err
}

// heldRoom returns room for the next read: behind c.buf, or the small buffer. All that is held
// during the read is charged.
func (c *conn) heldRoom() ([]byte, error) {
	if c.held.awake && !c.stayAwake() {
		c.goQuiet()
	}
	c.account()
	if c.buf != nil && len(c.buf.B) == cap(c.buf.B) {
		if err := c.growTo(c.wantQuiet); err != nil {
			return nil, err
		}
		c.account()
	}
	if c.buf == nil {
		return c.held.small, nil
	}
	return c.buf.B[len(c.buf.B):cap(c.buf.B)], nil
}

// wantQuiet is want for a quiet connection.
func (c *conn) wantQuiet(carried int) int {
	return min(linebuf.ClassSize(carried+smallRead), max(linebuf.ClassSize(c.lines.max), smallRead))
}

// stayAwake provides a full-size buffer, and charges it. If it returns false, the budget of awake
// connections or the pool has no room for it. UDP and stdin, of which there are few, are not charged.
func (c *conn) stayAwake() bool {
	h := &c.held
	if c.timed {
		want := int64(min(c.want(c.carried()), c.v.maxRead))
		if h.charge = c.v.budget.awake.reserve(h.charge, want); h.charge != want {
			c.size = c.v.o.ReadSize // there may be room for that, the next time
			return false
		}
	}
	return c.ensure()
}

// goQuiet ends the time awake: the read buffer goes back.
func (c *conn) goQuiet() {
	h := &c.held
	if h.small == nil {
		return
	}
	h.awake = false
	h.charge = c.v.budget.awake.reserve(h.charge, 0)
	c.release()
}

// deadline returns the time at which to check whether the connection has gone quiet, or zero for
// never. lapsed reports whether the last such time has passed.
func (h *heldReader) deadline(c *conn, now time.Time, lapsed bool) time.Time {
	if h.small == nil || !h.awake {
		return time.Time{}
	}
	if lapsed && !h.active {
		c.goQuiet()
		return time.Time{}
	}
	h.active = false
	return now.Add(quietAfter)
}
