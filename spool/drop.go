package spool

import "log/slog"

// dropOldestLocked gives up the oldest segment. Lines of it that workers have are delivered.
func (k *keeper) dropOldestLocked() {
	for _, g := range k.segments {
		if g.busy() {
			continue
		}
		if !g.scanned {
			wake(k.wakeLoader) // which counts the lines, and wakes this goroutine
			return
		}
		for n := uint32(0); g.loaded && n < g.index.frames; n++ {
			if e := g.index.entry(n); e.pending&^e.out != 0 {
				k.lostLocked(e)
				for group := range k.groups {
					if has(e.pending&^e.out, group) {
						e.pending &^= 1 << group
					}
				}
			}
		}
		if !g.loaded {
			k.dropped.Add(g.left.Count)
		}
		for group := range k.groups {
			w := g.waiting[group]
			k.groups[group].waiting.subAll(w)
			k.groups[group].dropped.Add(w.Count)
			g.waiting[group] = tally{}
		}
		left := g.left
		k.retireLocked(g)
		k.faults.kinds.Of("drop").Warn(k.o.Logger, "spool: the oldest lines were dropped to make room for new ones",
			slog.String("dir", k.o.Dir), slog.String("segment", segmentName(g.header.number)),
			slog.Uint64("lines", left.Lines), slog.Uint64("bytes", left.Bytes))
		return
	}
}

// lostLocked counts a frame as dropped, once.
func (s *Spool) lostLocked(e *entry) {
	if e.read != readDropped {
		e.read = readDropped
		s.dropped.Add(e.count())
	}
}
