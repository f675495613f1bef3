package splitter

import (
	"net"
	"time"
)

// In this file other goroutines ask a connection that waits in a read to do something. They record
// the request and set a deadline in the past, both under conn.mu. The connection's goroutine
// handles the request and sets the right deadline, also under conn.mu.

var past = time.Unix(1, 0)

// Evict asks the connection to give memory back. It implements [intake.Driver].
func (c *conn) Evict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requested.Store(true)
	if c.cancel != nil {
		c.cancel()
	}
	if !c.cut { // a connection that is cut off ends soon, and needs its deadline
		c.interruptLocked()
	}
}

// ReadRest reads the rest of a line that is about to be dropped, which a loop may be late for. It
// implements [intake.Driver].
func (c *conn) ReadRest() bool { return c.loop.completes(c) }

// answerTimeout limits the time that a sender may take to read what TLS answers.
const answerTimeout = 10 * time.Second

// limitWrites bounds the writes that TLS does within a Read: nothing else is written to a sender. A
// sender that does not read them is closed.
func (c *conn) limitWrites() {
	for below := c.nc; ; {
		if l, ok := below.(interface{ LimitWrites(time.Duration) }); ok {
			l.LimitWrites(answerTimeout)
		}
		next, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		below = next.NetConn()
	}
}

// interruptLocked ends a Read in progress. TLS may be writing in it: the answer to a key update, to
// a sender that does not read.
func (c *conn) interruptLocked() {
	if c.secure {
		c.raw.SetDeadline(past)
	} else {
		c.raw.SetReadDeadline(past)
	}
}

// cutOff asks the connection to read what has arrived and to end.
func (c *conn) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	c.requested.Store(true)
	c.interruptLocked()
}

// halfClose asks the sender to end, by TCP's FIN alone. To a TLS sender that only writes, a
// close_notify would be unread data and turn its close into a reset. A TLS handshake is completed
// first.
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

// handleRequests handles what other goroutines asked for, and sets the deadline of the next read.
// It returns errCutOff once a connection that has been cut off has nothing more to read.
func (c *conn) handleRequests() error {
	if err := c.setDeadline(); err != nil {
		return err
	}
	c.in.Obey()
	err := c.endLateRecord()
	c.in.Account() // a connection that has gone quiet holds less
	return err
}

// endLocked returns the reason for the end of a connection that has been cut off.
func (c *conn) endLocked() error {
	if c.timedOut != nil {
		return c.timedOut
	}
	return errCutOff
}

func (c *conn) setDeadline() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	lapsed := c.lapsed
	c.lapsed = false
	c.requested.Store(c.cut) // once cut off, each read has its own deadline
	t, over := c.in.Deadline(time.Now(), lapsed, c.cut)
	if over {
		return c.endLocked()
	}
	c.raw.SetReadDeadline(t)
	return nil
}
