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
	Groups    []GroupStats

	Unconfirmed linebuf.Count // lines that at least one group has not confirmed
	Oldest      time.Time     // when the oldest of them was read; zero: there is none

	Appended    linebuf.Count
	Dropped     linebuf.Count // unconfirmed lines that made room for others
	Orphaned    linebuf.Count // lines that waited for groups that no longer exist
	Quarantined linebuf.Count // lines that were damaged, and moved to the directory quarantine

	QuarantinedFrames uint64
	Syncs, SyncErrors uint64
	WriteErrors       uint64
	Faults            uint64 // all of them: of the disk, and in what it holds
	LastFault         string
	Held              int64 // bytes of buffers that wait for a sync
	Full              bool  // no room for what was last to be appended
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
