package delivery

import (
	"time"

	"linesplit/linebuf"
)

// beginWrite makes s the segment that Writing returns. The window owns it from now on, whether or
// not it is written. If s has another framing than the target, it is rewritten first, and nothing
// is written if no line of it is left.
func (m *Machine) beginWrite(s segment) {
	if to := m.out.backend.Target.Address.Framing; s.buf.Framing != to {
		if s = m.reframe(s, to); s.len() == 0 {
			m.countRefused(s.refused)
			m.shared.buffers.Put(s.buf)
			return
		}
	}
	m.out.begin(s)
	if c := m.out.batcher; c != nil {
		c.Announce(s.buf, s.len(), m.continues(s.buf))
	}
	m.writing, m.written = true, 0
}

// continues reports whether the lines that are sent again after those of b belong to the same
// batch.
func (m *Machine) continues(b *linebuf.Buffer) bool {
	return !b.Batch.IsZero() && !m.retryQueue.empty() && m.retryQueue.oldest().buf.Batch == b.Batch
}

// Writing returns the bytes to be written next and their connection; no bytes if there are none.
func (m *Machine) Writing() (Conn, []byte) {
	if !m.writing || m.stopped {
		return nil, nil
	}
	return m.out.conn, m.out.window.newest().bytes()[m.written:]
}

// Wrote reports the result of a write: how many more of the bytes of Writing the connection has
// taken, and the error that ended it. Fewer bytes without an error mean that the rest follows.
func (m *Machine) Wrote(n int, err error, now time.Time) {
	c := m.out
	c.noteBegun(now)
	m.written += n
	if err != nil {
		m.fail(c, err, now)
		m.advance(now)
		return
	}
	size := c.window.newest().len()
	if m.written < size {
		return
	}
	m.endWrite()
	if c.batcher == nil { // merged lines would lose their marks
		m.shared.buffers.Put(c.window.mergeNewest(m.shared.buffers))
	}
	m.bytesSinceLook += size
	if m.bytesSinceLook >= m.lookAfter || c.window.mem-c.memAtLook >= 2*int64(m.lookAfter) {
		m.look(c, now)
	}
	m.advance(now)
}

// endWrite counts the lines of the write under way as sent, as far as the connection has taken
// them.
func (m *Machine) endWrite() {
	if !m.writing {
		return
	}
	m.writing = false
	s := m.out.window.newest()
	if m.written < s.len() {
		m.out.writing = s.begun(0, s.start()+uint64(m.written))
	}
	m.out.sent.Add(m.out.writing)
	m.out.writing = linebuf.Count{}
}

// Blocked is the event of a write that makes no progress. An error is a reason to end the write
// with it. Blocked also handles the connections that are being left. A failure of the present
// connection is left to Wrote.
func (m *Machine) Blocked(now time.Time) error {
	if m.stopped {
		return errStopped
	}
	m.applyState(now)
	m.reapLeaving(now)
	m.look(m.out, now)
	m.countLines()
	if err := m.verdict(m.out, now); err != nil {
		return err
	}
	return m.failbackInWrite(now)
}
