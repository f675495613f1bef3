package acked

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"sync/atomic"

	"linesplit/linebuf"
)

// source marks the lines that have no other mark: those that are in no spool.
var source = func() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}()

var runs atomic.Uint64 // marked so far

// newMark returns a mark for a run of lines that no other run in this or another process has.
func newMark() linebuf.Mark { return linebuf.Mark{Source: source, Number: runs.Add(1)} }

// marks are those of the lines of a buffer, from the next one on.
type marks struct {
	next linebuf.Run
	more []linebuf.Run
}

func marksOf(b *linebuf.Buffer) marks {
	if runs := b.Runs(); len(runs) > 0 {
		return marks{runs[0], runs[1:]}
	}
	return marks{linebuf.Run{First: b.Origin, Lines: math.MaxInt}, nil}
}

// take returns the marks of the next lines: of at most n, which are consecutive, and of one at
// least.
func (m *marks) take(n int) linebuf.Run {
	if m.next.Lines == 0 {
		if len(m.more) == 0 { // which cannot be
			return linebuf.Run{First: newMark(), Lines: n}
		}
		m.next, m.more = m.more[0], m.more[1:]
	}
	run := linebuf.Run{First: m.next.First, Lines: min(n, m.next.Lines)}
	m.next = linebuf.Run{First: m.next.First.Plus(run.Lines), Lines: m.next.Lines - run.Lines}
	return run
}
