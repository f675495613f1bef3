package delivery

import (
	"errors"
	"log/slog"
	"syscall"
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
	if m.out == nil && m.proves(c, err) {
		m.dialling.avoid = c.backend
	}
	if c.seen.AllRead {
		m.confirmUpTo(c, c.arrived(), now)
	} else {
		m.confirmUpTo(c, c.seen.Known, now)
	}
	missing, unacknowledged, unread := m.reclaim(c)
	c.countLines(missing)
	if m.stopped {
		return
	}
	c.backend.Target.ConnectionFailed(err)
	c.backend.unacknowledged.Add(unacknowledged)
	c.backend.unread.Add(unread)
	attrs := []slog.Attr{targetAttr(c.backend), slog.Any("err", err),
		slog.Uint64("resend_unacknowledged_lines", unacknowledged.Lines), slog.Uint64("resend_unread_lines", unread.Lines)}
	cutShort := c.cutShort(err, now)
	if (cutShort || c.batcher != nil && c.seen.Err != nil) && !c.confirmed {
		c.backend.futile.Add(1)
	}
	if c.backend.countCutShort(cutShort) >= cutShortTimes {
		attrs = append(attrs, slog.String("advice", cutShortAdvice))
	}
	c.backend.logs.failed.Warn(m.logger, "connection failed", attrs...)
}

// A peer that speaks TLS or another protocol need not say so before it resets a connection. After
// cutShortTimes in a row that may be the reason; a target that crashes at each start is another.
const (
	cutShortTimes  = 3
	cutShortAdvice = "the target resets one connection after another right after the first bytes: " +
		"does it expect TLS (write tls://) or another protocol?"
)

// cutShort reports whether the peer has reset a new connection on which something was written.
func (c *outConn) cutShort(err error, now time.Time) bool {
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	return reset && now.Sub(c.used) < halfCloserWithin && c.seen.Written > 0
}

// countCutShort returns how many connections in a row were cut short, of those that have failed.
func (b *Backend) countCutShort(cut bool) int64 {
	if !cut {
		b.cutShort.Store(0)
		return 0
	}
	return b.cutShort.Add(1)
}

// confirmUpTo confirms the whole lines before pos.
func (m *Machine) confirmUpTo(c *outConn, pos uint64, now time.Time) {
	m.release(c, pos, now)
	if c.window.empty() || pos <= c.window.oldest().start() {
		return
	}
	n := c.window.trim(c.window.oldest().lineStart(pos))
	m.countOrdered(n.Lines)
	m.shared.countSettled(c, n)
}

// reclaim moves the window to the retry queue, in front of what is in it, and counts the part of it
// that the connection had been given: the lines that are missing at the target, those of them that
// may have been sent, and others that may not have been read.
func (m *Machine) reclaim(c *outConn) (missing, unacknowledged, unread linebuf.Count) {
	older := 0
	for ; !c.window.empty(); older++ {
		s := c.window.pop()
		border := c.seen.Acked
		if border > s.start() && border < s.end {
			border = s.lineStart(border)
		}
		unread.Add(s.begun(0, border))
		missing.Add(s.begun(border, c.seen.Written))
		unacknowledged.Add(s.begun(border, c.seen.Written-c.seen.Unsent))
		m.retryQueue.push(s)
	}
	m.retryQueue.advance(older)
	return missing, unacknowledged, unread
}
