package relay

import (
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
)

const (
	// settleTime is the time that a peer has to end after it has acknowledged all bytes, if the
	// other side no longer takes what it sends.
	settleTime = 2 * time.Second

	// Delays between looks at a send queue that is to become empty.
	firstLook = time.Millisecond
	lastLook  = 100 * time.Millisecond
)

// ends holds the reasons to record for a flow: its source has closed or was reset, or its
// destination takes no bytes.
type ends struct{ closed, reset, undeliverable traffic.End }

var (
	clientEnds = ends{closed: traffic.EndClientClosed, reset: traffic.EndClientReset, undeliverable: traffic.EndTargetReset}
	targetEnds = ends{closed: traffic.EndTargetClosed, reset: traffic.EndTargetReset, undeliverable: traffic.EndClientReset}
)

// flowEnded records the end of a flow; err is nil for an orderly one. An orderly end is passed on
// to the other side as a half-close, since that side may still send. A broken source is passed on
// as a reset, once the other side has all that was received. When both flows have ended, both sides
// are closed.
func (c *conn) flowEnded(f *splice.Flow, e ends, err error) {
	switch {
	case err == nil:
		c.first.CompareAndSwap(uint32(traffic.NotEnded), uint32(e.closed))
		f.CloseWrite()
	case err == splice.ErrUndeliverable:
		// The bytes that the receiving side sent before it broke are still carried in the other
		// direction, and its end follows them there.
		c.refuses(f).Store(true)
	default:
		c.decide(e.reset)
		c.deliver()
		c.halt()
	}
	if c.ended.Add(1) < 2 {
		return
	}
	if c.first.Load() == uint32(traffic.NotEnded) {
		c.decide(e.undeliverable) // neither side takes bytes, and neither has ended; this flow found out last
	}
	c.finish()
}

// deliver waits until both peers have acknowledged the bytes that have been written to them so far:
// a reset would lose the others. It waits no longer than until halt is called, which checkSilence
// does if the send queues stay as they are. A target that is out of use is not waited for.
func (c *conn) deliver() {
	why := traffic.End(c.why.Load())
	outOfUse := why == traffic.EndTargetDown || why == traffic.EndTargetRemoved
	in, out := c.pair.In.Moved(), c.pair.Out.Moved()
	look := accept.NewBackOff(firstLook, lastLook)
	for c.v.cut.Err() == nil && !c.over.Load() {
		if (outOfUse || arrived(&c.pair.In, in)) && arrived(&c.pair.Out, out) {
			return
		}
		c.pass(look.NextBackOff())
	}
}

// arrived reports whether the first n bytes of a flow have left its receiving side's send queue.
func arrived(f *splice.Flow, n int64) bool {
	waiting := f.Waiting()
	return waiting == 0 || f.Moved()-waiting >= n
}

// refuses returns the flag of the side that receives the bytes of f.
func (c *conn) refuses(f *splice.Flow) *atomic.Bool {
	if f == &c.pair.In {
		return &c.targetRefuses
	}
	return &c.clientRefuses
}

// pass lets some time pass, and meanwhile discards what a side sends that the other does not take:
// a peer may read nothing until it has written.
func (c *conn) pass(d time.Duration) {
	switch {
	case c.clientRefuses.Load() && !c.target.Discard(d):
	case c.targetRefuses.Load() && !c.client.Discard(d):
	default:
		accept.Pause(c.v.cut, d)
	}
}

// finish ends a connection when both flows have ended.
func (c *conn) finish() {
	why := traffic.End(c.why.Load())
	if why == traffic.NotEnded {
		why = traffic.End(c.first.Load())
		c.settle(&c.clientRefuses, &c.target, &c.pair.In)
		c.settle(&c.targetRefuses, &c.client, &c.pair.Out)
	}
	reset := c.why.Load() != uint32(traffic.NotEnded)
	c.deliveredIn, c.deliveredOut = c.pair.In.Delivered(reset), c.pair.Out.Delivered(reset)
	c.v.clients.DiscardedIn.Add(uint64(c.pair.In.Moved() - c.deliveredIn))
	c.v.clients.DiscardedOut.Add(uint64(c.pair.Out.Moved() - c.deliveredOut))
	if reset {
		c.client.Reset()
		c.target.Reset()
	} else {
		c.client.Close()
		c.target.Close()
	}
	c.cleanUp(why)
}

// settle gives a side that may still be sending, since the other refuses its bytes, the time to
// receive the rest of f. Closing a socket with unread data resets it, and loses the bytes in its
// send queue.
func (c *conn) settle(refused *atomic.Bool, s *splice.Side, f *splice.Flow) {
	if !refused.Load() {
		return
	}
	empty := time.Now()
	for !c.over.Load() && !s.Discard(lastLook) {
		if f.Waiting() > 0 {
			empty = time.Now()
		} else if time.Since(empty) >= settleTime {
			return
		}
	}
}

// checkSilence aborts a connection that has made no progress for too long.
func (c *conn) checkSilence(now time.Time, set *Tuning) {
	if !c.carrying.Load() {
		return
	}
	silent := c.silence.last(now, c.pair.In.Moved()+c.pair.Out.Moved(), c.ended.Load(), func() int64 {
		return c.pair.In.Waiting() + c.pair.Out.Waiting()
	})
	why := verdict(set, silent, c.isEnding())
	if why == traffic.NotEnded && !c.isEnding() {
		why = checkSides(&c.sides, now, set, &c.pair.In, &c.pair.Out)
	}
	if why != traffic.NotEnded {
		c.abort(why)
	}
}

// isEnding reports whether a side has ended or broken.
func (c *conn) isEnding() bool {
	const notEnded = uint32(traffic.NotEnded)
	return c.ended.Load() > 0 || c.first.Load() != notEnded || c.why.Load() != notEnded
}
