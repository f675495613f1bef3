package splitter

import "time"

const (
	// A sender that is cut off is read until nothing has come for readOutWait, since closing a socket with unread
	// data resets it. What has arrived is read at once; the wait is for what its kernel still holds because we had
	// not been reading: that may have to be retransmitted first, which takes Linux 200 ms. A sender that just goes on
	// writing is read for readOutMost.
	readOutWait = 250 * time.Millisecond
	readOutMost = time.Second
)

// drain asks all senders to end, and cuts off those that do not.
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

// abort closes everything at once.
func (v *serving) abort() {
	v.ln.Close()
	v.registry.each(v, func(c *conn) { c.raw.Close() })
}
