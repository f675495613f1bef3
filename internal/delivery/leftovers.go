package delivery

import (
	"time"

	"linesplit/linebuf"
)

// This file hands over unconfirmed lines when delivery is stopped.

// leftovers is the part of Shared for unconfirmed lines at the end.
type leftovers struct {
	keep func(*linebuf.Buffer) // nil: unconfirmed lines stay counted as retained
	kept linebuf.AtomicCount
}

// SetKeep makes aborted machines hand over their unconfirmed lines: they call keep, which owns the
// buffer from then on, with B and Lines cut down to the unconfirmed lines. Machines call keep
// concurrently. SetKeep is called before there are machines.
func (s *Shared) SetKeep(keep func(*linebuf.Buffer)) { s.keep = keep }

// Kept counts the lines that were handed over. They are part of Taken.
func (s *Shared) Kept() linebuf.Count { return s.kept.Load() }

// Leave hands over a buffer that no machine has taken, and counts it as taken. Without SetKeep it
// does nothing.
func (s *Shared) Leave(b *linebuf.Buffer) {
	if s.keep != nil {
		n := b.Count()
		s.taken.Add(n)
		s.handOver(b, n)
	}
}

func (s *Shared) handOver(b *linebuf.Buffer, n linebuf.Count) {
	s.kept.Add(n)
	s.keep(b)
}

// handOverWindow hands over the unconfirmed lines of an aborted connection, oldest first. It first
// confirms the lines that the target had read at the last look.
func (m *Machine) handOverWindow(c *outConn, now time.Time) {
	if m.shared.keep == nil {
		return
	}
	read := max(c.seen.Known, c.confirmable(now, m.shared.Settings().ResendAge))
	if c.seen.AllRead {
		read = c.arrived()
	}
	m.confirmUpTo(c, read, now)
	for !c.window.empty() {
		m.handOver(c.window.pop())
	}
}

// handOverQueue hands over the lines of failed connections.
func (m *Machine) handOverQueue() {
	for m.shared.keep != nil && !m.retryQueue.empty() {
		m.handOver(m.retryQueue.pop())
	}
}

func (m *Machine) handOver(s segment) {
	n := s.count()
	m.shared.retained.Sub(n)
	s.buf.B, s.buf.Lines = s.bytes(), s.lines
	m.shared.handOver(s.buf, n)
}
