package delivery

import (
	"time"

	"linesplit/linebuf"
)

// onFIN acts on the peer's FIN: it dials a replacement. The worker leaves the connection when
// that dial has ended, whether it succeeded or not.
func (m *Machine) onFIN(c *outConn, now time.Time) {
	m.noteLeft(c, nil, now)
	c.markEnding(now)
	m.avoidIfHomeDown(c.backend)
	if c.isNew(now) { // the next connection may end as soon
		m.retryLater(now)
		return
	}
	m.dialling.delays.Reset()
	m.dial(now)
}

// replaceDraining dials a replacement for a connection whose target takes no more lines. After
// a peer's FIN, onFIN has dialled already or has set the retry timer.
func (m *Machine) replaceDraining(now time.Time) {
	if d := &m.dialling; m.out != nil && m.out.ending && !d.busy && !d.armed() && m.hasWork() {
		m.avoidIfHomeDown(m.out.backend)
		m.dial(now)
	}
}

// avoidIfHomeDown keeps the next dial from trying home first if home is down; it then avoids b,
// which the machine is leaving.
func (m *Machine) avoidIfHomeDown(b *Backend) {
	if m.home.Target.Down() {
		m.dialling.avoid = b
	}
}

// retire begins to leave the present connection, in order. Lines that have moved to it from a
// stalled one may move again: they would otherwise wait for a home that still hangs when the
// machine has gone back to it.
func (m *Machine) retire(now time.Time) {
	c := m.out
	m.out, m.full, m.moved = nil, false, false
	c.markEnding(now)
	if c.batcher != nil { // it is not to wait for more lines, or for long
		c.conn.CloseWrite()
	}
	m.leaving = append(m.leaving, c)
	m.reapLeaving(now)
	if len(m.leaving) > MaxLeaving {
		oldest := m.leaving[0]
		m.leaving = append(m.leaving[:0], m.leaving[1:]...)
		m.requeue(oldest, errTooManyLeaving, now)
	}
}

// reapLeaving takes the connections that are being left one step further and drops those that
// have ended.
func (m *Machine) reapLeaving(now time.Time) {
	kept := m.leaving[:0]
	for _, c := range m.leaving {
		if !m.tryFinish(c, now) {
			kept = append(kept, c)
		}
	}
	clear(m.leaving[len(kept):])
	m.leaving = kept
}

// tryFinish reports whether a connection that is being left has ended. It requeues the window
// of one that failed, and half-closes one as soon as it may.
func (m *Machine) tryFinish(c *outConn, now time.Time) bool {
	m.look(c, now)
	if c.delivered() {
		m.release(c, c.next, now)
	}
	if c.window.empty() {
		c.countLines(linebuf.Count{})
		c.conn.Close()
		c.leave()
		return true
	}
	err := m.verdict(c, now)
	if err == nil && c.seen.Over && c.halfClosed {
		err = errUnproven
	}
	if err != nil {
		m.requeue(c, err, now)
		return true
	}
	if c.mayHalfClose(now) {
		c.halfClosed = true
		if err := c.conn.CloseWrite(); err != nil {
			m.logger.Debug("half-close failed", "target", c.backend.Target, "err", err)
		}
	}
	return false
}
