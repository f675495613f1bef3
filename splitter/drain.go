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

// drain asks all senders to end, and cuts off the rest once Tuning.Drain has passed.
func (v *serving) drain(ended <-chan struct{}) {
	v.registry.each(v, (*conn).halfClose)
	t := time.NewTimer(v.tuned().Drain)
	defer t.Stop()
	select {
	case <-ended:
	case <-v.hard.Done():
	case <-t.C:
		v.registry.each(v, (*conn).cutOff)
	}
}

// abort closes the listener and all its connections at once.
func (v *serving) abort() {
	v.ln.Close()
	v.registry.each(v, func(c *conn) { c.raw.Close() })
}
