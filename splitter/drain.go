package splitter

import "time"

const (
	// A sender that is cut off is read until nothing has come for readOutWait, since closing a
	// socket with unread data resets it. What has arrived is read at once. The wait is for data
	// that the sender's kernel still holds because we had not been reading: that may have to be
	// retransmitted first, which takes Linux 200 ms. A sender that never stops writing is read for
	// maxReadOut.
	readOutWait = 250 * time.Millisecond
	maxReadOut  = time.Second
)

// drain asks all senders to end, and returns how long they may take.
func (v *serving) drain() time.Duration {
	v.registry.each(v, (*conn).halfClose)
	return v.tuned().Drain
}

// cutOff cuts off the senders that have not ended in time.
func (v *serving) cutOff() { v.registry.each(v, (*conn).cutOff) }

// abort closes all connections at once.
func (v *serving) abort() { v.registry.each(v, func(c *conn) { c.raw.Close() }) }
