package splitter

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

const (
	// Looking at all connections now and then costs less than a timer for each, and nothing where
	// bytes flow. A timeout may be exceeded by one step.
	stepsPerTimeout = 16
	shortestStep    = 10 * time.Millisecond
	longestStep     = 5 * time.Second
)

var (
	errIdle     = errors.New("closed: idle for longer than the idle timeout")
	errLineTime = errors.New("closed: a line took longer than the line timeout")
)

// activity holds the times that the timeouts of a connection depend on. Its times are those of
// budget.now.
type activity struct {
	last   atomic.Int64 // the last bytes, or the end of the last time that linesplit held up the connection
	line   atomic.Int64 // the beginning of the unfinished line, without the times held up; 0 without one
	heldUp atomic.Bool  // the connection waits for the gate, the memory or the channel
}

// timeOuts looks at the connections of v until done is closed.
func (v *serving) timeOuts(done <-chan struct{}) {
	t := time.NewTimer(longestStep)
	defer t.Stop()
	for {
		news := v.news.Load() // before the settings, so that none are missed
		set := v.tuned()
		t.Reset(stepOf(set.IdleTimeout, set.LineTimeout))
		select {
		case <-done:
			return
		case <-*news:
		case now := <-t.C:
			if set.IdleTimeout > 0 || set.LineTimeout > 0 {
				v.registry.each(v, func(c *conn) { c.checkTimeouts(v.budget.now(now), set) })
			}
		}
	}
}

func stepOf(timeouts ...time.Duration) time.Duration {
	step := longestStep
	for _, d := range timeouts {
		if d > 0 {
			step = min(step, d/stepsPerTimeout)
		}
	}
	return max(step, shortestStep)
}

func (c *conn) checkTimeouts(now int64, set *Tuning) {
	if !c.timed || c.activity.heldUp.Load() {
		return
	}
	line, last := c.activity.line.Load(), c.activity.last.Load()
	switch {
	case set.LineTimeout > 0 && line > 0 && now-line > int64(set.LineTimeout):
		c.timeOut(errLineTime, &c.v.counters.lineTimeouts)
	case set.IdleTimeout > 0 && now-last > int64(set.IdleTimeout):
		c.timeOut(errIdle, &c.v.counters.idleTimeouts)
	}
}

// timeOut ends the connection as the end of a drain does: what has arrived is read.
func (c *conn) timeOut(why error, count *atomic.Uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return
	}
	count.Add(1)
	c.cut, c.timedOut = true, why
	c.requested.Store(true)
	if !c.shaking && !c.halfClosed {
		c.halfClosed = true
		closeWrite(c.raw) // a sender that is there after all learns of it
	}
	c.interruptLocked()
}

// isTimed reports whether timeouts apply to nc. A udp:// listener has one connection for all its
// senders, and the end of stdin is the end of the process.
func isTimed(nc net.Conn) bool {
	switch nc.RemoteAddr().(type) {
	case *net.TCPAddr, *net.UnixAddr:
		return true
	}
	return false
}

// noteRead notes that bytes have come.
func (c *conn) noteRead(now time.Time) { c.activity.last.Store(c.v.budget.now(now)) }

// noteLine notes when the unfinished line began, if there is one: fresh says that it began with the
// bytes just read.
func (c *conn) noteLine(fresh bool) {
	a := &c.activity
	switch {
	case c.carried() == 0 && !c.lines.skipping:
		if a.line.Load() != 0 {
			a.line.Store(0)
		}
	case fresh || a.line.Load() == 0:
		a.line.Store(max(1, a.last.Load()))
	}
}

// holdUp notes that linesplit keeps the connection from being read, until resume is called with
// what it returns. The time between them counts for no timeout.
func (c *conn) holdUp() (began time.Time) {
	c.activity.heldUp.Store(true)
	return time.Now()
}

func (c *conn) resume(began time.Time) {
	a, now := &c.activity, time.Now()
	a.last.Store(c.v.budget.now(now))
	if line := a.line.Load(); line > 0 {
		a.line.Store(line + int64(now.Sub(began)))
	}
	a.heldUp.Store(false)
}

// sendSlowly is send for a channel that is full.
func (c *conn) sendSlowly(b *linebuf.Buffer) bool {
	defer c.resume(c.holdUp())
	select {
	case c.v.out <- b:
		return true
	case <-c.v.hard.Done():
		return false
	}
}
