package splitter

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"linesplit/internal/intake"
)

const (
	// Looking at all connections now and then costs less than a timer for each, and nothing where
	// bytes flow. A timeout may be exceeded by one step.
	stepsPerTimeout = 16
	stepsPerRecord  = 4
	shortestStep    = 10 * time.Millisecond
	longestStep     = 5 * time.Second
)

var (
	errIdle     = errors.New("closed: idle for longer than the idle timeout")
	errLineTime = errors.New("closed: a line took longer than the line timeout")
)

// timeOuts looks at the connections of v until done is closed.
func (v *serving) timeOuts(done <-chan struct{}) {
	t := time.NewTimer(longestStep)
	defer t.Stop()
	records := false // some connections may have unfinished ones
	for {
		news := v.news.Load() // before the settings, so that none are missed
		set := v.tuned()
		step := stepOf(set.IdleTimeout, set.LineTimeout)
		if records = records || set.RecordStart != nil; records {
			step = min(step, max(set.RecordWait/stepsPerRecord, shortestStep))
		}
		t.Reset(step)
		select {
		case <-done:
			return
		case <-*news:
		case now := <-t.C:
			if set.IdleTimeout > 0 || set.LineTimeout > 0 || records {
				v.registry.each(v, func(c *conn) { c.checkTimeouts(now, set) })
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

func (c *conn) checkTimeouts(now time.Time, set *Tuning) {
	if c.in.Late(now, set.RecordWait) {
		c.requestRecord()
	}
	switch c.in.Expired(now, set.IdleTimeout, set.LineTimeout) {
	case intake.SlowLine:
		c.timeOut(errLineTime, &c.v.counters.lineTimeouts)
	case intake.Idle:
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

// holdUp notes that linesplit keeps the connection from being read, until resume is called with
// the time that it returns.
func (c *conn) holdUp() (began time.Time) {
	c.in.HoldUp()
	return time.Now()
}

func (c *conn) resume(began time.Time) { c.in.Resume(began, time.Now()) }
