package spool

import (
	"time"

	"linesplit/linebuf"
)

// Stats is the state of a spool at one time, and what has happened since it was opened.
type Stats struct {
	Dir       string
	Limit     int64 // Options.Size
	Bytes     int64 // of all segment files
	Segments  int
	Unscanned int64 // bytes of segments of earlier runs whose lines are not counted yet
	Skipped   int   // segments that cannot be opened at the moment: others go first, and their lines wait
	Groups    []GroupStats

	Unconfirmed linebuf.Count // lines that at least one group has not confirmed
	Oldest      time.Time     // when the oldest of them was read; zero: there is none

	Appended    linebuf.Count
	Dropped     linebuf.Count // unconfirmed lines that made room for others
	Lost        linebuf.Count // lines that could not be made durable when Run ended; not in Unconfirmed
	Orphaned    linebuf.Count // lines that waited for groups that no longer exist
	Quarantined linebuf.Count // lines that were damaged, and moved to the directory quarantine

	QuarantinedFrames uint64
	Syncs, SyncErrors uint64
	WriteErrors       uint64
	Faults            uint64 // errors of the disk, SyncErrors and WriteErrors included, and damage in files
	LastFault         string // empty: there was none
	Held              int64  // bytes of buffers that wait for a sync
	Full              bool   // Append waits for room, of Limit or of the disk, or the oldest lines make room
}

// GroupStats are the lines of a group.
type GroupStats struct {
	Name      string
	Waiting   linebuf.Count // for Next
	InFlight  linebuf.Count // with workers, not yet confirmed
	Replayed  linebuf.Count // returned by Next
	Confirmed linebuf.Count
	Dropped   linebuf.Count
}

// Stats returns the state of the spool. It does not read the disk.
func (s *Spool) Stats() Stats {
	t := Stats{
		Dir: s.o.Dir, Limit: s.o.Size, Syncs: s.syncs.Load(), SyncErrors: s.faults.syncs.Load(),
		WriteErrors: s.faults.writes.Load(), Faults: s.faults.all.Load(), LastFault: s.faults.lastFault(),
		Groups: make([]GroupStats, len(s.groups)),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Bytes, t.Unscanned, t.Segments, t.Skipped = s.bytes-s.spare, s.unscanned, len(s.segments), len(s.skipped)
	if s.ready != nil {
		t.Segments++
	}
	t.Unconfirmed, t.Appended, t.Dropped, t.Orphaned = s.left.Count, s.appended, s.dropped, s.orphaned
	t.Lost = s.lost
	t.Quarantined, t.QuarantinedFrames = s.damaged.Count, s.damaged.frames
	t.Held, t.Full = s.held, s.full || s.starved && s.noFile != nil
	for i := range s.groups {
		g := &s.groups[i]
		waiting := g.waiting.Count
		waiting.Add(g.unreadable.Count)
		t.Groups[i] = GroupStats{
			Name: s.o.Groups[i], Waiting: waiting, InFlight: g.inFlight.Count,
			Replayed: g.replayed, Confirmed: g.confirmed, Dropped: g.dropped,
		}
	}
	for _, g := range s.segments {
		if g.left.frames > 0 || !g.scanned {
			t.Oldest = g.oldestRead()
			break
		}
	}
	return t
}
