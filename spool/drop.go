package spool

import (
	"log/slog"

	"linesplit/linebuf"
)

// dropped is a segment that was given up to make room for new lines.
type dropped struct {
	segment *segment // nil: none was
	lines   linebuf.Count
	soFar   uint64 // lines that were dropped since the start, these included
}

// dropOldestLocked drops the oldest segment. Lines of it that workers have are still delivered.
func (k *keeper) dropOldestLocked() dropped {
	for _, g := range k.segments {
		if g.busy() || g.skipped {
			continue
		}
		if !g.scanned {
			wake(k.wakeLoader) // which counts the lines, and wakes this goroutine
			break
		}
		before := k.dropped
		k.dropFramesLocked(g)
		k.retireLocked(g)
		lines := k.dropped
		lines.Sub(before)
		return dropped{g, lines, k.dropped.Lines}
	}
	return dropped{}
}

// dropFramesLocked counts what waits in a segment as dropped.
func (k *keeper) dropFramesLocked(g *segment) {
	if !g.loaded { // then all that is unconfirmed waits
		k.dropped.Add(g.left.Count)
	}
	for n := uint32(0); g.loaded && n < g.index.frames; n++ {
		if e := g.index.entry(n); e.pending&^e.out != 0 {
			k.lostLocked(e)
			e.pending &= e.out
		}
	}
	for group := range k.groups {
		waiting := g.waiting[group]
		g.waiting[group] = tally{}
		k.groups[group].waiting.subAll(waiting)
		k.groups[group].dropped.Add(waiting.Count)
		k.readableLocked(group) // it may have waited for the index of this segment
	}
}

// lostLocked counts a frame as dropped, once.
func (s *Spool) lostLocked(e *entry) {
	if e.read != readDropped {
		e.read = readDropped
		s.dropped.Add(e.count())
	}
}

// logDropped logs what was dropped, if anything was.
func (k *keeper) logDropped(d dropped) {
	if d.segment == nil {
		return
	}
	k.faults.kinds.Of("drop").Warn(k.o.Logger, "spool: the oldest lines were dropped to make room for new ones",
		slog.String("dir", k.o.Dir), slog.String("segment", segmentName(d.segment.header.number)),
		slog.Uint64("lines", d.lines.Lines), slog.Uint64("bytes", d.lines.Bytes), slog.Uint64("lines_so_far", d.soFar))
}
