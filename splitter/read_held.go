package splitter

import (
	"time"

	"linesplit/internal/intake"
)

// heldReader reads a connection whose Read needs a buffer before there is anything to read: TLS,
// and connections without a descriptor. While the stream is quiet and carries nothing, this is the
// small buffer. Once a read has filled its room, the stream is awake until nothing has come for
// quietAfter.
type heldReader struct {
	small  []byte // nil for connections that are read through a descriptor
	active bool   // bytes have come since the deadline was set
}

const quietAfter = time.Second

func (c *conn) readHeld() (int, error) {
	for c.in.Prepare() == intake.Starved {
		if err := c.makeRoom(); err != nil {
			return 0, err
		}
	}
	h, into := &c.held, c.in.Room()
	if into == nil {
		into = h.small
	}
	n, err := c.nc.Read(into)
	h.active = h.active || n > 0
	if !c.in.Awake() && n == len(into) {
		c.in.Wake()
		c.lapsed = true // run then sets the deadline
	}
	if n > 0 && c.in.Room() == nil {
		c.in.Fill(into[:n])
	}
	return n, err
}

// deadline returns the time at which to check whether the connection has gone quiet, or zero for
// never. lapsed reports whether the last such time has passed.
func (h *heldReader) deadline(c *conn, now time.Time, lapsed bool) time.Time {
	if h.small == nil || !c.in.Awake() {
		return time.Time{}
	}
	if lapsed && !h.active {
		c.in.GoQuiet()
		return time.Time{}
	}
	h.active = false
	return now.Add(quietAfter)
}
