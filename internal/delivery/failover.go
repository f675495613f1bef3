package delivery

import (
	"log/slog"
	"time"

	"linesplit/linebuf"
)

// fail gives up the present connection.
func (m *Machine) fail(c *outConn, err error, now time.Time) {
	m.endWrite()
	m.out, m.full = nil, false
	m.moved = m.moved && err == errStalled
	m.noteLeft(c, err, now)
	m.requeue(c, err, now)
}

// requeue closes a failed connection and moves all that may not have been read to the retry
// queue.
func (m *Machine) requeue(c *outConn, err error, now time.Time) {
	m.look(c, now)
	defer c.leave()
	c.conn.Abort()
	m.dialling.noteFailure(c, err)
	if m.out == nil {
		m.dialling.avoid = c.backend
	}
	if c.seen.AllRead {
		m.confirmUpTo(c, c.arrived(), now)
	} else {
		m.confirmUpTo(c, c.seen.Known, now)
	}
	unacknowledged, unread := m.reclaim(c)
	c.countLines(unacknowledged)
	if m.stopped {
		return
	}
	c.backend.Target.ConnectionFailed(err)
	c.backend.unacknowledged.Add(unacknowledged)
	c.backend.unread.Add(unread)
	c.backend.logs.failed.Warn(m.logger, "connection failed", targetAttr(c.backend), slog.Any("err", err),
		slog.Uint64("resend_unacknowledged_lines", unacknowledged.Lines), slog.Uint64("resend_unread_lines", unread.Lines))
}

// confirmUpTo confirms the whole lines before pos.
func (m *Machine) confirmUpTo(c *outConn, pos uint64, now time.Time) {
	m.release(c, pos, now)
	if c.window.empty() || pos <= c.window.oldest().start() {
		return
	}
	m.shared.countConfirmed(c.backend, c.window.trim(c.window.oldest().lineStart(pos)))
}

// reclaim moves the window to the retry queue and counts the part of it that the connection had
// been given.
func (m *Machine) reclaim(c *outConn) (unacknowledged, unread linebuf.Count) {
	for !c.window.empty() {
		s := c.window.pop()
		border := c.seen.Acked
		if border > s.start() && border < s.end {
			border = s.lineStart(border)
		}
		unread.Add(s.begun(0, border))
		unacknowledged.Add(s.begun(border, c.seen.Written))
		m.retryQueue.push(s)
	}
	return unacknowledged, unread
}
