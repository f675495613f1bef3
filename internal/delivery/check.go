package delivery

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
)

// checkConns looks at every connection and acts on what it finds.
func (m *Machine) checkConns(now time.Time) {
	m.reapLeaving(now)
	c := m.out
	if c == nil {
		return
	}
	m.look(c, now)
	if err := m.verdict(c, now); err != nil {
		m.fail(c, err, now)
		return
	}
	if c.seen.FIN && !c.ending && !c.ignoreFIN {
		m.onFIN(c, now)
	}
}

// look asks a connection for its progress and releases what that confirms.
func (m *Machine) look(c *outConn, now time.Time) {
	s := m.shared.Settings()
	before, last := c.exact, c.seenAt
	if c.look(now, s.stuckAfter()); c.exact != before {
		m.logger.Debug("peer lookup", "target", c.backend.Target, "exact", c.exact)
	}
	m.countHang(c, last, now)
	m.release(c, c.confirmable(now, s.ResendAge), now)
	m.enforceLimit(c, s.WindowMax, now)
	c.reportWindow()
	if c != m.out {
		return
	}
	m.bytesSinceLook, c.memAtLook = 0, c.window.mem
	if m.full = c.full(s.WindowMax); m.full {
		m.recheckAt = now.Add(c.recheckAfter(now))
	} else {
		c.noteOpen(now)
	}
}

// release confirms all segments that end at pos or before it.
func (m *Machine) release(c *outConn, pos uint64, now time.Time) {
	var n linebuf.Count
	refused := 0
	for !c.window.empty() && c.window.oldest().end <= pos {
		s := c.window.pop()
		n.Add(s.count())
		refused += s.refused
		if m.sinceSample++; m.sinceSample >= observeEvery {
			m.sinceSample = 0
			m.shared.confirmSeconds.Observe(now.Sub(s.buf.Read).Seconds())
		}
		m.shared.buffers.Put(s.buf)
	}
	if n.Lines == 0 {
		return
	}
	c.noteConfirmed()
	m.moved = m.moved && c != m.out
	m.countOrdered(n.Lines + uint64(refused))
	m.shared.countSettled(c, n)
}

// enforceLimit releases the oldest segments while the window holds more than its share, but
// none that seem unread.
func (m *Machine) enforceLimit(c *outConn, windowMax int64, now time.Time) {
	limit := c.surelyRead()
	for c.window.mem > windowMax && c.window.oldest().end <= limit {
		m.release(c, c.window.oldest().end, now)
	}
}

// verdict returns the reason to give up a connection, or nil to keep it.
func (m *Machine) verdict(c *outConn, now time.Time) error {
	s := m.shared.Settings()
	switch {
	case c.seen.Err != nil:
		return c.seen.Err
	case c.seen.Silent >= s.DeadTimeout:
		return errSilent
	case m.drainStalled(c, now, s.drainTimeout()):
		return errDrainStalled
	case now.Sub(c.ackedAt) >= s.StallTimeout:
		return m.stallVerdict(c, now)
	}
	return nil
}

// drainStalled reports whether a connection to a draining target has made no progress for the
// timeout while another target confirms. Its window is then sent to that one. Without this
// bound, a target that hangs could never be removed.
func (m *Machine) drainStalled(c *outConn, now time.Time, timeout time.Duration) bool {
	list := m.shared.Backends()
	if list.serves(c.backend) || !c.ending || c.window.empty() || c.sinceProgress(now) < timeout {
		return false
	}
	return list.serving().OtherConfirming(c.backend.Target, c.stuckAfter, m.shared.intN) != nil
}

// countHang adds the time since the last look to a stall. A stall is judged beside the other
// targets: they may all wait for the same service, and none of them hangs. So a stall that all
// others come to share counts anew from when one of them confirms again, and after that the time in
// which none does is left out. That others pause now and then must not keep the window for ever.
func (m *Machine) countHang(c *outConn, last, now time.Time) {
	if !c.ackedAt.Before(now) {
		c.hung, c.allStalled = 0, false
		return
	}
	if last.Before(c.ackedAt) {
		last = c.ackedAt
	}
	switch {
	case !m.shared.Backends().serving().OthersStalled(c.backend.Target):
		c.hung += now.Sub(last)
	case !c.allStalled:
		c.hung, c.allStalled = 0, true
	}
}

// stallVerdict handles a peer that is alive and acknowledges nothing. That is backpressure, not
// a failure: the window moves once, and only to a target that confirms, while this one hangs.
func (m *Machine) stallVerdict(c *outConn, now time.Time) error {
	if !c.stalled {
		c.stalled = true
		c.backend.stalls.Add(1)
		c.backend.logs.takesNothing.Warn(m.logger, "target takes nothing", targetAttr(c.backend),
			slog.Duration("since", now.Sub(c.ackedAt).Round(time.Millisecond)))
	}
	if m.moved || c.hung < m.shared.Settings().StallTimeout || !m.canMove(c) {
		return nil
	}
	m.moved = true
	return errStalled
}

// canMove reports whether the window of a stalled connection has another target to go to. The
// window of a connection that is being left can go to the present connection only. For the
// present connection, canMove also chooses the target to dial.
func (m *Machine) canMove(c *outConn) bool {
	list := m.shared.Backends()
	if m.out != nil && m.out != c {
		at := m.out.backend
		if at == c.backend && m.behind() { // a new connection to the same target may do better
			return list.accepting.OtherConfirming(at.Target, c.stuckAfter, m.shared.intN) != nil
		}
		return at != c.backend && at.Target.Confirming(c.stuckAfter)
	}
	if m.stays() {
		return false
	}
	t := list.serving().OtherConfirming(c.backend.Target, c.stuckAfter, m.shared.intN)
	if t == nil {
		return false
	}
	m.dialling.prefer = list.of(t)
	return true
}
