package spool

import (
	"context"
	"fmt"
	"slices"
	"time"

	"linesplit/linebuf"
)

// doneEvery is how often confirmations are synced at most: the loss of some costs duplicates only.
const doneEvery = time.Second

// syncer is the state of the goroutine that makes writes durable.
type syncer struct {
	*Spool
	batch    []*segment        // being synced
	lastDone time.Time         // when confirmations were last synced
	retry    retry             // of repairs
	puts     []*linebuf.Buffer // buffers to put back
}

// runSyncer syncs what is written until ctx ends. All writes since the last sync share one.
func (s *Spool) runSyncer(ctx context.Context) {
	y := syncer{Spool: s, retry: newRetry()}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(y.delay())
		select {
		case <-ctx.Done():
			return
		case <-s.wakeSyncer:
		case <-timer.C:
		}
		if y.due() {
			y.sync()
		}
		if time.Since(y.lastDone) >= doneEvery {
			y.syncDone()
		}
		y.repair()
	}
}

// delay returns how long there is nothing to do, unless the goroutine is woken.
func (y *syncer) delay() time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	d := time.Hour
	if !y.unsynced.IsZero() {
		d = y.o.Sync - time.Since(y.unsynced)
	}
	if len(y.doneToSync) > 0 || y.doneMade {
		d = min(d, doneEvery-time.Since(y.lastDone))
	}
	if y.repairs && !y.retry.at.IsZero() {
		d = min(d, y.retry.delay())
	}
	if y.syncNow {
		d = 0
	}
	return max(d, 0)
}

// due reports whether it is time for a sync. While targets confirm lines sooner than that, none is
// needed: the pages of their frames are written to the disk when the kernel likes, if they are not
// used again before.
func (y *syncer) due() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.syncNow || y.unsynced.IsZero() || time.Since(y.unsynced) < y.o.Sync {
		return y.syncNow
	}
	y.dropAllConfirmedLocked()
	y.unsynced = time.Time{}
	for _, g := range y.toSync {
		if g.failed { // its frames are written again, or are already
			continue
		}
		if at := g.written[0].wrote; y.unsynced.IsZero() || at.Before(y.unsynced) {
			y.unsynced = at
		}
	}
	return !y.unsynced.IsZero() && time.Since(y.unsynced) >= y.o.Sync
}

// dropAllConfirmedLocked is dropConfirmedLocked for all segments.
func (s *Spool) dropAllConfirmedLocked() {
	for _, g := range slices.Clone(s.toSync) {
		s.dropConfirmedLocked(g)
	}
}

// dropConfirmedLocked takes frames that no group needs out of those of a segment that wait for a
// sync.
func (s *Spool) dropConfirmedLocked(g *segment) {
	if g.failed || len(g.written) == 0 {
		return
	}
	kept := g.written[:0]
	for _, r := range g.written {
		if r.out != 0 || r.waiting != 0 {
			kept = append(kept, r)
			continue
		}
		r.queued = false
		s.releaseRecordLocked(r)
	}
	clear(g.written[len(kept):])
	g.written = kept
	if len(kept) == 0 {
		s.toSync = slices.DeleteFunc(s.toSync, func(o *segment) bool { return o == g })
	}
	s.idleLocked(g)
}

// sync syncs all that is written by now and not confirmed.
func (y *syncer) sync() {
	y.mu.Lock()
	y.syncNow, y.unsynced = false, time.Time{}
	y.dropAllConfirmedLocked()
	batch := y.toSync
	y.toSync, y.batch = y.batch[:0], batch
	for _, g := range batch {
		if !g.failed {
			g.syncing, g.written = g.written, g.syncing[:0]
			g.pins++
			if g.writers == 0 {
				g.toSynced = g.index.frames
			}
		}
	}
	y.mu.Unlock()
	for _, g := range batch {
		if len(g.syncing) > 0 { // only this goroutine changes it
			y.syncSegment(g)
		}
	}
}

// syncSegment syncs a segment, and lets go of the buffers of what was written before that.
func (y *syncer) syncSegment(g *segment) {
	start := time.Now()
	err := g.file.Sync()
	y.syncs.Add(1)
	if y.o.SyncSeconds != nil {
		y.o.SyncSeconds.Observe(time.Since(start).Seconds())
	}
	y.mu.Lock()
	g.pins--
	if err == nil {
		y.syncedLocked(g)
	} else {
		g.written = append(g.syncing, g.written...)
		g.syncing = nil
		y.failLocked(g, fmt.Errorf("spool: sync %s: %w", segmentName(g.header.number), err))
	}
	y.idleLocked(g)
	y.mu.Unlock()
	y.putAll()
	if err != nil {
		y.faults.syncs.Add(1)
		y.fault("sync", "could not sync a segment; its unsynced lines are written to another one", err, g)
	}
}

// syncedLocked lets go of the buffers of the frames whose sync has succeeded. It gives up the lock
// from time to time.
func (y *syncer) syncedLocked(g *segment) {
	g.synced = g.toSynced
	const atOnce = 256
	for i, r := range g.syncing {
		if i%atOnce == atOnce-1 {
			y.mu.Unlock()
			y.putAll()
			y.mu.Lock()
		}
		e := g.index.entry(r.from)
		for group := range y.groups {
			if has(r.waiting, group) {
				y.groups[group].early--
				e.out &^= 1 << group
				y.waitsLocked(g, e, r.from, group)
				y.readableLocked(group)
			}
		}
		r.waiting, r.queued = 0, false
		if b := y.takeBufferLocked(r); b != nil {
			y.puts = append(y.puts, b)
		}
		y.releaseRecordLocked(r)
	}
	clear(g.syncing)
	g.syncing = g.syncing[:0]
}

// putAll puts the buffers back. The caller does not hold the lock, since receipts of others may be
// released.
func (y *syncer) putAll() {
	for _, b := range y.puts {
		y.o.Buffers.Put(b)
	}
	clear(y.puts)
	y.puts = y.puts[:0]
}

// syncDone syncs the confirmations that are written by now, and the directory if it has new files
// of them.
func (y *syncer) syncDone() {
	y.mu.Lock()
	segments, made := y.doneToSync, y.doneMade
	y.doneToSync, y.doneMade = nil, false
	for _, g := range segments {
		g.pins++
		g.unsynced = false
	}
	y.mu.Unlock()
	for _, g := range segments {
		if y.isGone(g) {
			continue
		}
		if err := g.done.Sync(); err != nil {
			y.doneFault(g, err)
			y.writeAllDone(g)
		}
	}
	if made { // without its entry in the directory, a file is lost with the power, however well it was synced
		if err := y.fs.SyncDir(y.o.Dir); err != nil {
			y.doneFault(nil, err)
			y.mu.Lock()
			y.doneMade = true
			y.mu.Unlock()
		}
	}
	y.mu.Lock()
	for _, g := range segments {
		g.pins--
		y.idleLocked(g)
	}
	y.mu.Unlock()
	y.lastDone = time.Now()
}

// writeAllDone has all confirmations of a segment written again: after a failed sync it is not
// known which of them the disk has.
func (s *Spool) writeAllDone(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range g.index.chunks {
		for group := range s.groups {
			n := uint32(i) * doneFrames
			if f := g.toFile[group]; f >= 0 && !has(g.index.chunks[i].dirty, int(f)) {
				g.index.chunks[i].dirty |= 1 << f
				s.changedLocked(g, n, group)
			}
		}
	}
}

// doneFault counts an error of a sync of confirmations.
func (y *syncer) doneFault(g *segment, err error) {
	y.faults.syncs.Add(1)
	y.fault("confirmations", "could not sync confirmations, trying again; a power loss before that repeats lines", err, g)
}

func (s *Spool) isGone(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.gone
}
