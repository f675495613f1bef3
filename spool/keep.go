package spool

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// keeper is the state of the goroutine that makes and removes files.
type keeper struct {
	*Spool
	making   retry // of segments
	removing retry // of files
	stuck    int   // segments that could not be removed since one could
	last     bool  // the spool is closed, and only frames of failed segments are still written
}

// maxStuck is how many segments may be stuck in a row before nothing more is dropped.
const maxStuck = 2

// runKeeper keeps a segment ahead of Append, and removes those that are confirmed, until ctx ends.
func (s *Spool) runKeeper(ctx context.Context) {
	k := keeper{Spool: s, making: newRetry(), removing: newRetry()}
	k.removeOrphans()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		delay := time.Hour
		if !k.removeRetired() {
			delay = k.removing.delay()
		}
		k.trim()
		if !k.makeReady() {
			delay = min(delay, k.making.delay())
		}
		timer.Reset(delay)
		select {
		case <-ctx.Done():
			return
		case <-s.wakeKeeper:
		case <-timer.C:
		}
	}
}

// nextSizeLocked returns the size of the next segment: that of Options, or more for a large frame.
// After Unlimit it is less if the disk has not so much room.
func (s *Spool) nextSizeLocked() int64 {
	switch {
	case s.most > 0:
		return max(s.want, s.most, s.spare)
	case s.want <= s.o.Segment:
		return s.o.Segment
	}
	if large := s.want + s.o.Segment; s.fitsLocked(large) {
		return min(large, maxSegment)
	}
	return s.want
}

// fitsLocked reports whether the spool has room for a segment of size bytes.
func (s *Spool) fitsLocked(size int64) bool { return size <= s.limit-s.bytes+s.spare }

// makeReady makes the next segment if there is none, and if Size has room for it. It returns false
// if that has failed and is to be tried again.
func (k *keeper) makeReady() bool {
	k.mu.Lock()
	if k.closed && !k.last || k.ready != nil && k.want <= k.ready.size {
		k.mu.Unlock()
		return true
	}
	if k.ready != nil { // too small
		k.retireReadyLocked()
	}
	size := k.nextSizeLocked()
	if !k.fitsLocked(size) {
		dropped := k.noRoomLocked()
		k.mu.Unlock()
		k.logDropped(dropped)
		return true
	}
	if k.makeNow {
		k.makeNow, k.making = false, newRetry()
	}
	if k.making.delay() > 0 {
		k.mu.Unlock()
		return false
	}
	k.number++
	k.bytes += size - k.spare
	g := &segment{size: size, end: headerBlock, scanned: true, loaded: true}
	g.header = header{
		number: k.number, created: time.Now(), groups: slices.Clone(k.o.Groups), reused: k.spare > 0,
	}
	k.spare = 0
	g.bind(k.o.Groups)
	k.mu.Unlock()

	err := k.makeSegment(g)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.bytes -= size
		k.noFile = fmt.Errorf("spool: make %s: %w", segmentName(g.header.number), err)
		k.announceErrorLocked()
		k.making.failed()
		if k.limit > k.o.Size && size > max(minSegment, k.want) { // whatever the disk has is used
			k.most, k.makeNow = max(minSegment, size/2&^(headerBlock-1)), true
			wake(k.wakeKeeper)
		}
		return false
	}
	k.making.succeeded()
	k.ready, k.noFile = g, nil
	k.starved, k.full, k.nearEnd = false, false, false
	k.announceLocked()
	if k.repairs {
		wake(k.wakeSyncer)
	}
	return true
}

// makeSegment makes a segment file, with disk space for all of it and its header.
func (k *keeper) makeSegment(g *segment) error {
	rand.Read(g.header.id[:])
	name := k.path(segmentName(g.header.number))
	made, open := name, k.fs.Create
	if g.header.reused {
		made, open = k.path(spareName), k.fs.Open
	}
	f, err := open(made)
	if err == nil {
		g.file = f
		err = k.prepare(g)
		if err == nil && made != name {
			err = k.fs.Rename(made, name)
		}
		if err == nil {
			err = k.fs.SyncDir(k.o.Dir)
		}
		if err != nil {
			f.Close()
			k.fs.Remove(name) // it has no lines; if it stays, the next run removes it
		}
	}
	if err != nil {
		if made != name {
			k.fs.Remove(made)
		}
		k.fault("make", "could not make a segment", err, g, slog.Int64("bytes", g.size))
	}
	return err
}

// prepare gives the file of a segment its size and its header.
func (k *keeper) prepare(g *segment) error {
	if err := g.file.Allocate(g.size); err != nil {
		return err
	}
	err := g.file.WriteSynced(0, [][]byte{g.header.encode()})
	if err != nil {
		k.faults.writes.Add(1)
	}
	return err
}

// retireReadyLocked has the segment that was made ahead removed.
func (k *keeper) retireReadyLocked() {
	g := k.ready
	k.ready = nil
	g.gone = true
	k.retired = append(k.retired, g)
	wake(k.wakeKeeper)
}

// noRoomLocked handles a spool that has no room for the next segment. It is full unless segments
// are about to be removed or shortened. With DropOldest it drops the oldest lines if Append needs
// the room. It returns what it has dropped.
func (k *keeper) noRoomLocked() dropped {
	// Segments with lines in flight have made room. A file that cannot be removed is passed over.
	removing := slices.ContainsFunc(k.retired, func(g *segment) bool { return !g.removed && !g.stuck })
	if removing || len(k.wasteful) > 0 {
		return dropped{}
	}
	wasFull := k.full
	k.full = k.starved || k.o.DropOldest
	if !k.o.DropOldest {
		if k.full && !wasFull {
			k.announceErrorLocked()
		}
		return dropped{}
	}
	if k.stuck > maxStuck || !k.starved && !k.nearEnd { // perhaps no file can be removed
		return dropped{}
	}
	return k.dropOldestLocked()
}

// trim gives back the disk space behind the last frame of segments that are no longer written to.
func (k *keeper) trim() {
	k.mu.Lock()
	segments := k.wasteful
	k.wasteful = nil
	k.mu.Unlock()
	for _, g := range segments {
		k.mu.Lock()
		gone, file := g.gone, g.file
		k.mu.Unlock()
		if !gone { // this goroutine closes files of segments that are gone
			k.shorten(g, file, g.end)
		}
		k.mu.Lock()
		g.wasteful = false
		k.idleLocked(g)
		k.mu.Unlock()
	}
}

// shorten cuts a file off behind the last page with a frame. Nothing is lost if that fails.
func (s *Spool) shorten(g *segment, f File, end int64) {
	size := (end + headerBlock - 1) &^ (headerBlock - 1)
	if size >= g.size {
		return
	}
	if err := f.Truncate(size); err != nil {
		s.fault("trim", "could not shorten a segment", err, g)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !g.removed {
		s.bytes -= g.size - size
		if !g.scanned {
			s.unscanned -= g.size - size
		}
		g.size = size
	}
	wake(s.wakeKeeper)
}
