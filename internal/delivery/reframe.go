package delivery

import (
	"sync/atomic"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// ReasonEmbedded is why lines are dropped that their target's framing cannot hold.
const ReasonEmbedded = "embedded"

// Reframed counts what was rewritten because a target has another framing than the sender, or than
// the target before.
type Reframed struct {
	// Altered counts lines in which something else was written for a delimiter.
	Altered uint64
	// Refused counts lines that were dropped because they contain a delimiter.
	Refused linebuf.Count
	// Added and Removed count the bytes by which all other lines have become longer and shorter,
	// each buffer of lines by itself.
	Added, Removed uint64
}

// reframed is Reframed while it is counted.
type reframed struct {
	altered, added, removed atomic.Uint64
	refused                 linebuf.AtomicCount
}

// Reframed returns the present counts.
func (s *Shared) Reframed() Reframed {
	r := &s.reframed
	return Reframed{r.altered.Load(), r.refused.Load(), r.added.Load(), r.removed.Load()}
}

// reframe rewrites s into another framing, in a buffer of its own, and gives the old one back. The
// result may have no lines.
//
// A line that is sent again to a target of another framing is rewritten from the form that it has:
// what was escaped for one target stays so for the next.
func (m *Machine) reframe(s segment, to framing.Framing) segment {
	rewrite := framing.Rewrite{From: s.buf.Framing, To: to, Embedded: m.shared.Settings().Embedded}
	old := s.bytes()
	b := m.shared.buffers.MustGetLike(s.buf, rewrite.Bound(old, s.lines))
	var o framing.Outcome
	b.B, o = rewrite.Append(b.B, old)
	b.Lines, b.Read, b.Framing = o.Records, s.buf.Read, to
	if o.Refused == 0 {
		b.MarkLike(s.buf, 0)
	}
	next := segment{buf: b, lines: o.Records, refused: s.refused + o.Refused}
	m.shared.countReframed(s.count(), next.count(), o)
	if o.Refused > 0 {
		s.buf.Lose(o.Refused)
		m.logRefused(o)
	}
	m.shared.buffers.Put(s.buf)
	return next
}

// countReframed counts lines that were retained and have been rewritten.
func (s *Shared) countReframed(old, next linebuf.Count, o framing.Outcome) {
	s.retained.Sub(old)
	s.retained.Add(next)
	r := &s.reframed
	refused := linebuf.Count{Lines: uint64(o.Refused), Bytes: uint64(o.RefusedBytes)}
	r.refused.Add(refused)
	r.altered.Add(uint64(o.Altered))
	old.Sub(refused)
	if next.Bytes > old.Bytes {
		r.added.Add(next.Bytes - old.Bytes)
	} else {
		r.removed.Add(old.Bytes - next.Bytes)
	}
}

// logRefused logs, in sum, that lines were dropped because of the framing of the present target.
func (m *Machine) logRefused(o framing.Outcome) {
	b := m.out.backend
	b.unlogged.Add(linebuf.Count{Lines: uint64(o.Refused), Bytes: uint64(o.RefusedBytes)})
	b.logs.refused.Do(func(int) {
		n := b.unlogged.Load()
		b.unlogged.Sub(n)
		m.logger.Warn("lines dropped", "reason", ReasonEmbedded, "lines", n.Lines, "bytes", n.Bytes, targetAttr(b),
			"advice", "the target's framing cannot hold them: use -embedded-newline escape, or ?framing=octet")
	})
}
