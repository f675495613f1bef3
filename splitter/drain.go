package splitter

import "time"

// drain asks all senders to end, and returns how long they may take.
func (v *serving) drain() time.Duration {
	v.registry.each(v, (*conn).halfClose)
	return v.tuned().Drain
}

// cutOff cuts off the senders that have not ended in time.
func (v *serving) cutOff() { v.registry.each(v, (*conn).cutOff) }

// abort closes all connections at once.
func (v *serving) abort() { v.registry.each(v, func(c *conn) { c.raw.Close() }) }
