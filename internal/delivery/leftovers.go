package delivery

import (
	"time"

	"linesplit/linebuf"
)

// This file hands over what is not confirmed when delivery is stopped.

// leftovers is the part of Shared for that.
type leftovers struct {
	keep func(*linebuf.Buffer) // nil: what is left stays counted as retained
	kept linebuf.AtomicCount
}

// SetKeep makes machines hand over what they have not confirmed when they are aborted: keep owns
// the buffers then, whose B and Lines are the unconfirmed lines. Machines may call it at the same
// time. SetKeep is called before there are machines.
func (s *Shared) SetKeep(keep func(*linebuf.Buffer)) { s.keep = keep }

// Kept counts what was handed over. It is part of Taken.
func (s *Shared) Kept() linebuf.Count { return s.kept.Load() }

// Leave hands over a buffer that no machine gets any more. It counts as taken then.
func (s *Shared) Leave(b *linebuf.Buffer) {
	if s.keep != nil {
		n := linebuf.Count{Lines: uint64(b.Lines), Bytes: uint64(len(b.B))}
		s.taken.Add(n)
		s.handOver(b, n)
	}
}

func (s *Shared) handOver(b *linebuf.Buffer, n linebuf.Count) {
	s.kept.Add(n)
	s.keep(b)
}

// handOverWindow hands over what a connection that was aborted has not confirmed, oldest first. The
// lines that its last look has found to be read are not sent again.
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

// handOverQueue hands over what failed connections have left.
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
