package delivery

import "time"

// No event says that a receiver has read, so a full window is looked at again and again. At first
// that is after half the time for which the window was full the last time, and then each time after
// half of what it has been full for. So a window that opens within a round trip is found open soon
// after, a slow receiver costs two or three looks for each time that its window opens, and one that
// hangs costs one per maxRecheck.
const (
	minRecheck = 100 * time.Microsecond
	maxRecheck = 5 * time.Millisecond
)

// recheckAfter returns how long to wait before the next look at a full window.
func (c *outConn) recheckAfter(now time.Time) time.Duration {
	wait := now.Sub(c.fullSince) / 2
	if c.fullSince.IsZero() {
		c.fullSince, wait = now, c.openedIn/2
	}
	return min(max(wait, minRecheck), maxRecheck)
}

// noteOpen notes that the window is not full.
func (c *outConn) noteOpen(now time.Time) {
	if !c.fullSince.IsZero() {
		c.openedIn, c.fullSince = now.Sub(c.fullSince), time.Time{}
	}
}

// full reports whether nothing more may be written until something is confirmed: the window
// exceeds its share, enforceLimit could not release anything, and no probe is allowed.
func (c *outConn) full(limit int64) bool {
	if c.window.mem <= limit {
		return false
	}
	c.allowProbe(limit)
	return c.next >= c.probe
}

// minProbe is the number of bytes by which a window may exceed its limit for a probe where the
// limit is small: some of the largest buffers.
const minProbe = 1 << 20

// allowProbe lets a connection write a little more when its window is full of data that only
// seems unread. A receiver that has read everything may offer a narrower window for good, and
// only more bytes tell it from one that hangs; without them both would stand still for ever. A
// receiver that hangs is probed until the window holds twice its share.
func (c *outConn) allowProbe(limit int64) {
	if c.seen.WindowStable && c.arrived() == c.next && c.window.mem < limit+max(limit, minProbe) {
		c.probe = c.next + uint64(limit/4)
	}
}
