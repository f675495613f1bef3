package spool

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"linesplit/linebuf"
)

// loader is the state of the goroutine that brings indexes of segments into memory, and takes them
// out again.
type loader struct {
	*Spool
	retry    retry
	quit     <-chan struct{} // closed at the end
	aside    time.Time       // when frames that could not be read are tried again; zero: there are none
	again    []*segment      // that were skipped, and are to be tried again now
	unopened int             // attempts to open a segment that have failed since one has succeeded
}

// aheadOfNext is the number of segments with lines for a group whose indexes are kept in memory.
const aheadOfNext = 2

// runLoader scans the segments of earlier runs, oldest first, and loads those that Next is about to
// read, until ctx ends.
func (s *Spool) runLoader(ctx context.Context) {
	l := loader{Spool: s, retry: newRetry(), quit: ctx.Done()}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		if l.retry.delay() == 0 && l.step() {
			continue
		}
		timer.Reset(min(l.retry.pause(), l.tryAside()))
		select {
		case <-ctx.Done():
		case <-s.wakeLoader:
		case <-timer.C:
		}
	}
}

// tryAside tries again what could not be read, once a minute. It returns the time until its next
// call.
func (l *loader) tryAside() time.Duration {
	switch now := time.Now(); {
	case !l.hasAside():
		return time.Hour
	case l.aside.IsZero():
		l.aside = now.Add(asideEvery)
	case !now.Before(l.aside):
		l.aside = time.Time{}
		l.retryAside()
		l.retrySkipped()
		return 0
	}
	return time.Until(l.aside)
}

// step unloads or loads one segment. It returns false if none needs it.
func (l *loader) step() bool {
	l.mu.Lock()
	if files := l.unloadLocked(); files != nil { // first, so that few are in memory during a long scan
		l.mu.Unlock()
		for _, f := range files {
			f.Close()
		}
		return true
	}
	g := l.nextLocked()
	if g == nil {
		l.retry.succeeded()
		l.mu.Unlock()
		return false
	}
	g.pins++
	first := !g.scanned
	l.mu.Unlock()
	found, err := l.scan(g)
	l.mu.Lock()
	switch {
	case err == nil:
		l.installLocked(g, found)
		l.retry.succeeded()
	case errors.Is(err, fs.ErrNotExist):
		l.missingLocked(g)
	case g.skipped: // it is tried again in a minute
	case l.unopened >= maxTries || isVersion(err):
		l.passOverLocked(g)
		l.retry.succeeded()
	default:
		l.retry.failed()
	}
	l.mu.Unlock()
	if err == nil && first {
		l.syncEarlier(g, found)
	}
	l.mu.Lock()
	g.pins--
	l.idleLocked(g)
	l.mu.Unlock()
	return l.retry.at.IsZero()
}

// syncEarlier makes a segment of an earlier run durable: what a killed process wrote last may only
// be in the kernel's memory.
func (l *loader) syncEarlier(g *segment, f *found) {
	if f.left.frames == 0 {
		return // it is about to be removed
	}
	err := f.file.Sync()
	l.syncs.Add(1)
	if err != nil {
		l.faults.syncs.Add(1)
		l.fault("sync", "could not sync a segment of an earlier run; after a power loss, lines may be missing", err, g)
	}
}

// nextLocked returns the segment to load next: one that Next is about to read, one that was skipped
// and is to be tried again, or else the first that is not scanned.
func (l *loader) nextLocked() *segment {
	for _, g := range l.aheadLocked() {
		if !g.loaded {
			return g
		}
	}
	for len(l.again) > 0 {
		g := l.again[0]
		if l.again = l.again[1:]; g.skipped {
			return g
		}
	}
	if len(l.toScan) > 0 {
		return l.toScan[0]
	}
	return nil
}

// aheadLocked returns the segments whose lines Next reads first. Those of several groups are there
// more than once.
func (s *Spool) aheadLocked() (ahead []*segment) {
	for group := range s.groups {
		n := 0
		for _, g := range s.behindLocked(group) {
			if !g.mayWait(group) {
				continue
			}
			if n == aheadOfNext || !g.scanned {
				break
			}
			ahead = append(ahead, g)
			n++
		}
		for _, g := range s.groups[group].needed {
			if g != nil && !g.gone && !g.skipped && !g.failed {
				ahead = append(ahead, g)
			}
		}
	}
	return ahead
}

// unloadLocked takes the index of a segment that Next does not read soon out of memory. It returns
// the open files of the segment, which the caller closes, or nil if there is no such segment.
func (l *loader) unloadLocked() []File {
	ahead := l.aheadLocked()
	l.loaded = slices.DeleteFunc(l.loaded, func(g *segment) bool { return !g.loaded || g.gone })
	for _, g := range l.loaded {
		if slices.Contains(ahead, g) || g.busy() || g.records > 0 || g.pins > 0 || g.wasteful || g.unsynced || g.changed() {
			continue
		}
		g.oldest = g.oldestRead()
		g.loaded = false
		l.chunks.put(&g.index)
		return appendFiles([]File{}, g)
	}
	return nil
}

// changed reports whether confirmations of the segment are not written yet.
func (g *segment) changed() bool {
	for _, c := range g.index.chunks {
		if c.dirty != 0 {
			return true
		}
	}
	return false
}

// found is what a scan has found in a segment.
type found struct {
	file     File
	header   header // of a segment whose own is lost
	index    index
	left     tally
	waiting  [maxGroups]tally
	orphaned linebuf.Count // lines that waited for groups that no longer exist
	damage   [][2]int64    // places of bytes that belong to no frame
	end      int64         // offset behind the last frame, and behind all bytes that are not zero
	synced   uint32        // number of frames that were synced for certain
	holes    []hole        // in front of frames
	last     hole          // behind the last frame
	lost     tally         // frames that an earlier scan has found, and this one has not

	batches    []*storedBatch
	batchesEnd int64 // offset behind the last good note

	keep bool // parts cannot be read
}

// installLocked puts what a scan has found into a segment.
func (l *loader) installLocked(g *segment, f *found) {
	if g.gone {
		g.file = f.file // closed with the rest
		return
	}
	l.reachedLocked(g)
	remember := false
	if g.lost && !g.scanned {
		g.header = f.header
		g.bind(l.o.Groups)
	}
	if !g.scanned {
		g.scanned = true
		g.end = f.end
		l.unscanned -= g.size
		l.orphaned.Add(f.orphaned)
		remember = true
		wake(l.wakeKeeper)
	}
	g.file, g.index, g.loaded = f.file, f.index, true
	l.loaded = append(l.loaded, g)
	g.keep = g.keep || f.keep
	l.damaged.addAll(f.lost)
	l.left.subAll(g.left)
	l.left.addAll(f.left)
	g.left, g.head = f.left, 0
	for group := range l.groups {
		l.groups[group].waiting.subAll(g.waiting[group])
		l.groups[group].waiting.addAll(f.waiting[group])
		g.waiting[group], g.first[group] = f.waiting[group], 0
		l.groups[group].from = min(l.groups[group].from, g.header.number)
		l.readableLocked(group)
	}
	l.confirmNotedLocked(g)
	if remember {
		l.rememberLocked(g, f)
	}
}

// missingLocked gives up a segment whose file has disappeared, and counts its lines as dropped if
// they have been counted before.
func (l *loader) missingLocked(g *segment) {
	if g.gone {
		return
	}
	l.reachedLocked(g)
	if !g.scanned {
		l.unscanned -= g.size
		g.scanned = true
	}
	l.dropped.Add(g.left.Count)
	for group := range l.groups {
		l.groups[group].waiting.subAll(g.waiting[group])
		l.groups[group].dropped.Add(g.waiting[group].Count)
		g.waiting[group] = tally{}
		l.readableLocked(group)
	}
	l.retireLocked(g)
}
