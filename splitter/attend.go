package splitter

import (
	"net"
	"time"
)

// This file is how others reach a connection that waits in a read: they leave word and set a deadline in the past,
// both under conn.mu; its goroutine sees to it and sets the deadline right, also under conn.mu.

var past = time.Unix(1, 0)

// evict asks the connection to drop its unfinished line.
func (c *conn) evict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evictAt.Store(c.charge.Load())
	c.attention.Store(true)
	if c.cancel != nil {
		c.cancel()
	}
	if !c.cut { // else it will not read for long, and its deadline has a meaning
		c.raw.SetReadDeadline(past)
	}
}

// cutOff asks the connection to read what has arrived, and to end.
func (c *conn) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	c.attention.Store(true)
	c.raw.SetReadDeadline(past)
}

// halfClose tells the sender that we should like it to end, by TCP's FIN alone: to a TLS sender that only writes, a
// close_notify would be unread data, and make a reset of its close. A handshake is finished before.
func (c *conn) halfClose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halfClosed = true
	if !c.shaking {
		closeWrite(c.raw)
	}
}

func closeWrite(nc net.Conn) {
	if w, ok := nc.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
}

// attend sees to what the others left word of, and sets the deadline of the next read. It returns errCutOff once
// there is nothing more to read from a connection that has been cut off.
func (c *conn) attend() error {
	if err := c.setDeadline(); err != nil {
		return err
	}
	c.obeyEviction()
	return nil
}

func (c *conn) setDeadline() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	lapsed := c.lapsed
	c.lapsed = false
	c.attention.Store(c.cut) // in the read-out each read has its own deadline
	var t time.Time
	switch now := time.Now(); {
	case !c.cut:
		t = c.held.deadline(c, now, lapsed)
	case c.readOut.IsZero():
		c.readOut = now.Add(readOutMost)
		t = now.Add(readOutWait)
	case lapsed || now.After(c.readOut):
		return errCutOff
	default:
		t = now.Add(readOutWait)
	}
	c.raw.SetReadDeadline(t)
	return nil
}
