package spool

import (
	"time"

	"linesplit/linebuf"
)

// segment is a segment file. Spool.mu guards the fields below the first blank line.
type segment struct {
	header  header
	earlier bool                      // written by an earlier run: it is never written to again
	toFile  [maxGroups]int8           // index in header.groups by index of the group; -1: not in it
	groups  [maxGroups]linebuf.Groups // the same the other way round, as sets of at most one group
	lost    bool                      // the header could not be read: each frame is for all groups
	unread  bool                      // the header could not be read yet
	tries   int                       // scans that have failed; only the loader uses it

	file       File   // nil: not open
	done       File   // the file of confirmations; nil: not open
	batches    File   // the file of batches; nil: not open
	batchesEnd int64  // offset behind the last note; only runNoter uses it once the segment is loaded
	doneBlocks int    // number of blocks in that file; only the goroutine that writes confirmations uses it
	size       int64  // of the file
	end        int64  // offset behind the last frame that was reserved
	synced     uint32 // number of frames that are durable for certain: all up to some
	index      index
	loaded     bool // index is complete, and file is open

	scanned  bool // the counts below are known
	active   bool // Append writes into it
	failed   bool // a write or a sync has failed: it is not written to any more
	skipped  bool // it cannot be opened at the moment: its lines wait, and Next passes over it
	gone     bool // dropped to make room, or deleted: its frames do not count any more
	removed  bool // its file is removed
	stuck    bool // its file could not be removed yet; only the keeper uses it
	wasteful bool // it is about to be shortened, and stays open until then
	noted    bool // there is a file of batches
	keep     bool // parts could not be read: it goes to quarantine rather than be removed
	writers  int  // writes under way
	pins     int  // other uses of its files under way
	records  int  // live records that point to it

	written  []*record // whose sync has not begun
	syncing  []*record // whose sync is under way
	toSynced uint32    // synced once that has succeeded
	ordered  bool      // written is in the order of its frames, after a failure
	unsynced bool      // bytes of the file of confirmations are written and not synced

	left       tally            // frames that not all groups have confirmed
	waiting    [maxGroups]tally // frames that wait for a group, for Next to read
	first      [maxGroups]uint32
	head       uint32          // no frame before it is unconfirmed
	oldest     time.Time       // of the unconfirmed lines, while the segment is not loaded
	unreadable map[uint32]bool // frames that Next has set aside; see setAside
	bad        map[uint32]bool // frames that were put into quarantine
}

// bind maps the groups of the file to those of the spool, which have names.
func (g *segment) bind(names []string) {
	for i := range g.toFile {
		g.toFile[i], g.groups[i] = -1, 0
	}
	for f, inFile := range g.header.groups {
		for i, name := range names {
			if name == inFile && name != "" {
				g.toFile[i], g.groups[f] = int8(f), 1<<i
			}
		}
	}
}

// fromFile returns the groups of the spool for the groups of a frame, and the groups of the file
// that the spool does not have.
func (g *segment) fromFile(mask linebuf.Groups) (groups, others linebuf.Groups) {
	for f := range maxGroups {
		if has(mask, f) {
			groups |= g.groups[f]
			if g.groups[f] == 0 {
				others |= 1 << f
			}
		}
	}
	return groups, others
}

// busy reports whether something still writes to the segment or waits for its sync.
func (g *segment) busy() bool {
	return g.active || g.writers > 0 || len(g.written) > 0 || len(g.syncing) > 0
}

// settle sets frame n to confirmed for a group, without counting it. It reports whether the block
// of confirmations has to be queued for writing, because it was not changed before.
func (g *segment) settle(e *entry, n uint32, group int) (changed bool) {
	e.pending &^= 1 << group
	e.out &^= 1 << group
	c, f := g.index.chunks[n/doneFrames], g.toFile[group]
	if f < 0 {
		return false
	}
	c.done[f].set(int(n % doneFrames))
	changed = !has(c.dirty, int(f))
	c.dirty |= 1 << f
	return changed
}

// nextWaiting returns the first frame that waits for a group.
func (g *segment) nextWaiting(group int) (uint32, bool) {
	for n := g.first[group]; n < g.index.frames; n++ {
		if e := g.index.entry(n); has(e.pending&^e.out, group) {
			g.first[group] = n
			return n, true
		}
	}
	g.first[group] = g.index.frames
	return 0, false
}

// mayWait reports whether Next can read lines of the segment for a group, or may once it is
// scanned.
func (g *segment) mayWait(group int) bool {
	return !g.skipped && (!g.scanned || g.waiting[group].frames > 0)
}

// oldestRead returns when the oldest unconfirmed lines were read. The segment must have some.
func (g *segment) oldestRead() time.Time {
	if !g.scanned {
		return g.header.created
	}
	if !g.loaded {
		return g.oldest
	}
	for ; g.head < g.index.frames; g.head++ {
		if e := g.index.entry(g.head); e.pending != 0 {
			return g.header.created.Add(time.Duration(e.read) * time.Second)
		}
	}
	return time.Time{}
}
