package spool

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// retireLocked has a segment removed. Its lines do not count any more.
func (s *Spool) retireLocked(g *segment) {
	if g.gone {
		return
	}
	g.gone = true
	s.left.subAll(g.left)
	g.left = tally{}
	if i := slices.Index(s.segments, g); i >= 0 {
		s.segments = slices.Delete(s.segments, i, i+1)
	}
	s.retired = append(s.retired, g)
	wake(s.wakeKeeper)
}

// removeRetired removes the files of segments that are not needed. It returns false if some of them
// are to be tried again.
func (k *keeper) removeRetired() bool {
	removed, spare, done := k.removeSegments()
	if len(removed) > 0 && !k.removeConfirmations(removed) && spare != nil { // its old name may come back
		k.removeSpare()
		spare = nil
	}
	k.mu.Lock()
	for _, g := range removed {
		g.removed = true
		k.bytes -= g.size
	}
	if spare != nil {
		k.spare = spare.size
		k.bytes += spare.size
	}
	k.mu.Unlock()
	k.closeRemoved()
	return done
}

// removeSegments removes the files of retired segments, of which it puts one aside as spare. It
// tries those again that are stuck when it is time. It returns false if some are left.
func (k *keeper) removeSegments() (removed []*segment, spare *segment, done bool) {
	retry := k.removing.delay() == 0
	k.mu.Lock()
	all := slices.Clone(k.retired)
	k.mu.Unlock()
	failed, waits := false, false
	for _, g := range all {
		switch {
		case g.removed: // some of its lines are in flight
		case g.stuck && !retry:
			waits = true
		case spare == nil && k.reusable(g) && k.putAside(g):
			spare = g
			removed = append(removed, g)
		case k.removeSegment(g):
			removed = append(removed, g)
		default:
			failed = true
			if !g.stuck {
				g.stuck = true
				k.stuck++
			}
		}
	}
	if len(removed) > 0 {
		k.stuck = 0
	}
	switch {
	case failed:
		k.removing.failed()
	case !waits:
		k.removing.succeeded()
	}
	return removed, spare, !failed && !waits
}

// removeConfirmations removes the confirmations of segments whose files are removed: last, since
// without them a segment that a power loss brings back would be delivered again.
func (k *keeper) removeConfirmations(of []*segment) bool {
	err := k.fs.SyncDir(k.o.Dir)
	for _, g := range of {
		if err == nil {
			err = remove(k.fs, k.path(doneName(g.header.number)))
		}
		k.mu.Lock()
		noted := g.noted
		k.mu.Unlock()
		if err == nil && noted {
			err = remove(k.fs, k.path(batchesName(g.header.number)))
		}
	}
	if err != nil {
		k.fault("remove", "could not remove a file of confirmations or batches", err, nil)
	}
	return err == nil
}

// closeRemoved closes the files of removed segments that nothing uses, since an open file takes
// disk space. It forgets those whose lines are all accounted for.
func (k *keeper) closeRemoved() {
	var files []File
	k.mu.Lock()
	k.retired = slices.DeleteFunc(k.retired, func(g *segment) bool {
		if !g.removed || g.pins > 0 || g.writers > 0 {
			return false
		}
		files = appendFiles(files, g)
		if g.records > 0 {
			return false
		}
		k.chunks.put(&g.index)
		return true
	})
	k.mu.Unlock()
	for _, f := range files {
		f.Close()
	}
	if len(files) > 0 { // the disk has room again, so that the next segment does not wait for its turn
		k.making.at = time.Time{}
	}
}

// reusable reports whether the next segment can take over the file of a segment that is retired:
// nothing reads or writes it, the disk has had no trouble with it, and it is not large. To write to
// pages and blocks that a file has already takes half the processor time of writing to new ones.
func (k *keeper) reusable(g *segment) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	idle := g.pins == 0 && g.writers == 0 && g.records == 0
	return !k.last && k.spare == 0 && idle && !g.failed && !g.keep && !g.lost && g.size <= k.o.Segment
}

// putAside gives the file of a segment the name of the spare one, which no run takes for a segment.
func (k *keeper) putAside(g *segment) bool {
	return k.fs.Rename(k.path(segmentName(g.header.number)), k.path(spareName)) == nil
}

// removeSpare removes the spare file, of this run or an earlier one.
func (k *keeper) removeSpare() {
	if err := remove(k.fs, k.path(spareName)); err != nil {
		k.fault("remove", "could not remove the spare file", err, nil)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bytes -= k.spare
	k.spare = 0
}

// removeSegment removes a segment file, or moves it to quarantine.
func (k *keeper) removeSegment(g *segment) bool {
	name := k.path(segmentName(g.header.number))
	k.mu.Lock()
	keep := g.keep
	k.mu.Unlock()
	var err error
	if keep {
		err = k.keepSegment(g, name)
	} else {
		err = remove(k.fs, name)
	}
	if err != nil {
		k.fault("remove", "could not remove a segment", err, g)
	}
	return err == nil
}

// remove removes a file, unless it is gone already.
func remove(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeOrphans removes files of confirmations whose segments are gone, and the spare file of an
// earlier run.
func (k *keeper) removeOrphans() {
	k.removeSpare()
	if len(k.orphans) > 0 { // the segments must not come back without them
		if err := k.fs.SyncDir(k.o.Dir); err != nil {
			k.fault("remove", "could not remove files of confirmations", err, nil)
			return
		}
	}
	for _, number := range k.orphans {
		for _, name := range []string{doneName(number), batchesName(number)} {
			if err := remove(k.fs, k.path(name)); err != nil {
				k.fault("remove", "could not remove a file of confirmations or batches", err, nil)
			}
		}
	}
	k.orphans = nil
}
