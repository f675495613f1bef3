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
	if k.removing.delay() > 0 {
		return false
	}
	k.mu.Lock()
	all := slices.Clone(k.retired)
	k.mu.Unlock()
	var removed []*segment
	ok := true
	for _, g := range all {
		switch {
		case g.removed: // some of its lines are in flight
		case k.removeSegment(g):
			removed = append(removed, g)
		default:
			ok = false
		}
	}
	if len(removed) > 0 { // confirmations go last: without them a segment would be delivered again
		err := k.fs.SyncDir(k.o.Dir)
		for _, g := range removed {
			if err == nil {
				err = remove(k.fs, k.path(doneName(g.header.number)))
			}
		}
		if err != nil {
			k.fault("remove", "could not remove a file of confirmations", err, nil)
		}
	}
	k.mu.Lock()
	for _, g := range removed {
		g.removed = true
		k.bytes -= g.size
	}
	var files []File
	k.retired = slices.DeleteFunc(k.retired, func(g *segment) bool {
		if !g.removed || g.pins > 0 || g.writers > 0 {
			return false
		}
		files = appendFiles(files, g) // an open file takes disk space
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
	if ok {
		k.removing.succeeded()
	} else {
		k.removing.failed()
	}
	return ok
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

// removeOrphans removes files of confirmations whose segments are gone.
func (k *keeper) removeOrphans() {
	for _, number := range k.orphans {
		if err := remove(k.fs, k.path(doneName(number))); err != nil {
			k.fault("remove", "could not remove a file of confirmations", err, nil)
		}
	}
	k.orphans = nil
}
