package splitter

import (
	"time"

	"linesplit/linebuf"
)

// requestRecord asks the connection to end its unfinished record, whose next line has not come in
// time.
func (c *conn) requestRecord() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requested.Store(true)
	if !c.cut {
		c.interruptLocked()
	}
}

// endLateRecord hands over the unfinished record if its next line has not come in time. A
// connection on a loop that already has a buffer to hand over does so later, when it is asked
// again.
func (c *conn) endLateRecord() error {
	now := time.Now()
	if !c.in.Late(now, c.v.tuned().RecordWait) || c.loop != nil && c.loop.unsent != nil {
		return nil
	}
	b := c.in.Complete(now)
	c.received.Add(linebuf.Count{Lines: uint64(b.Lines)})
	return c.send(b)
}
