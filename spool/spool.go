// Package spool keeps buffers of lines in files until they are confirmed, so that they survive the
// process, and outages that memory cannot hold.
//
//	Append ──▶ segment files ──▶ Next ──▶ buffers with receipts
//	  │          ▲   ▲   ▲                        │
//	  │          │   │   └─ keeper: makes segments ahead, removes or reuses those that are confirmed
//	  │          │   └───── loader: finds the frames of earlier segments
//	  │          └───────── syncer: makes writes durable, repeats them after a fault
//	  ├─▶ receipts ──────▶ confirmer ──▶ files of confirmations
//	  └─▶ NoteBatch ─────▶ noter ──────▶ files of batches
//
// Append writes on its caller's goroutine; Run starts the other five. All share one mutex, which
// they never hold while they wait for the disk.
//
// The files are the truth: the segments alone are enough to start. A file of confirmations that is
// missing or damaged costs duplicates, never lines; one of batches costs the IDs of batches.
package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/linebuf"
)

// Spool is an open spool. Its methods are safe for concurrent use; Run and Close are called once.
type Spool struct {
	o      Options
	fs     FS
	lock   io.Closer
	all    linebuf.Groups // the set of all groups
	faults faults
	syncs  atomic.Uint64

	// Wake-up signals for the goroutines of Run, each with room for one.
	wakeSyncer, wakeConfirmer, wakeKeeper, wakeLoader, wakeNoter chan struct{}

	seed maphash.Seed // of the keys of noted

	mu       sync.Mutex // guards the fields below, and those of segments and records; never held while waiting
	closed   bool
	segments []*segment // in the order of their numbers
	loaded   []*segment // with an index in memory, those that are gone by now included
	active   *segment   // Append writes into it; nil: there is none at the moment
	ready    *segment   // made ahead, to become active; nil: not yet made
	spare    int64      // bytes of the file that the next segment takes over; 0: there is none
	wasteful []*segment // with disk space that they do not use
	retired  []*segment // to be removed
	number   uint64     // of the last segment that was made
	bytes    int64      // of all segment files, and of the spare one
	limit    int64      // of bytes: Options.Size, or none after Unlimit
	chunks   chunkList
	records  *record // free records

	want       int64     // bytes that the next segment has to have at least
	starved    bool      // Append waits for a segment
	full       bool      // there is none because of Size
	nearEnd    bool      // the active segment is nearly used up, and oldest lines are to make room
	noFile     error     // why the last segment could not be made; nil: it could
	makeNow    bool      // the next attempt to make one must not be put off
	most       int64     // bytes for which the disk may have room after Unlimit; 0: it has had enough
	crowded    bool      // Append waits for a sync
	held       int64     // bytes of buffers that wait for a sync
	syncNow    bool      // the next sync must not be put off
	unsynced   time.Time // no unconfirmed frame was written before that and is unsynced; zero: none is
	toSync     []*segment
	doneToSync []*segment    // with confirmations to sync
	doneMade   bool          // files of confirmations were made since the directory was synced
	changed    []block       // blocks of confirmations to write
	repairs    bool          // failed segments may have frames that are to be written again
	writeFault error         // the cause of repairs
	room       chan struct{} // closed when Append can go on; nil: no caller waits

	notes     []*note             // batches to note
	notesLate bool                // one of them takes long
	whole     []*sending          // batches that are confirmed, which is to be noted
	confirmed map[groupFrame]bool // frames of segments to be scanned that an earlier run has noted as confirmed
	noted     map[uint64]bool     // keys of some that are noted already

	groups    []groupState
	left      tally // frames of scanned segments that not all groups have confirmed
	appended  linebuf.Count
	dropped   linebuf.Count
	lost      linebuf.Count // at the end of Run
	orphaned  linebuf.Count
	damaged   tally      // frames in quarantine
	aside     []aside    // frames that cannot be read at the moment
	unscanned int64      // bytes of segments that are not scanned
	toScan    []*segment // those of them that are to be scanned, oldest first
	skipped   []*segment // that cannot be opened at the moment
	kept      int64      // bytes in quarantine
	orphans   []uint64   // numbers of files of confirmations and batches whose segments are gone
}

// groupState is the state of one group.
type groupState struct {
	waiting, inFlight            tally
	unreadable                   tally  // frames that wait, and cannot be read at the moment
	early                        uint64 // frames of waiting whose sync is outstanding
	from                         uint64 // no segment with a lower number has lines that Next can read
	reads                        uint64 // runs of frames that Next has begun to read
	replayed, confirmed, dropped linebuf.Count

	batches map[frameID]*storedBatch // of an earlier run, by each of their frames
	needed  []*segment               // that have frames of the batch that comes next

	sending map[frameID]*sending // batches on their way, by each of their frames

	wake chan struct{} // closed when Next can go on; nil: no caller waits
}

// Open makes the directory of a spool if it is missing, locks it, and reads the headers of its
// segments. It changes no segment: Run does. The error wraps ErrLocked if another process uses the
// directory. The caller calls Close.
func Open(o Options) (*Spool, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("spool %s: %w", o.Dir, err)
	}
	s := &Spool{
		o: o, fs: o.FS, limit: o.Size, all: allGroups(o.Groups), groups: make([]groupState, len(o.Groups)),
		wakeSyncer: make(chan struct{}, 1), wakeConfirmer: make(chan struct{}, 1),
		wakeKeeper: make(chan struct{}, 1), wakeLoader: make(chan struct{}, 1),
		wakeNoter: make(chan struct{}, 1), seed: maphash.MakeSeed(), noted: map[uint64]bool{},
		confirmed: map[groupFrame]bool{},
	}
	s.faults.logger = o.Logger
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("spool %s: %w", o.Dir, err)
	}
	return s, nil
}

func (s *Spool) open() error {
	if err := s.makeDir(); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	lock, err := s.fs.Lock(s.path(lockName), false)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if err := s.readDir(); err != nil {
		return errors.Join(err, lock.Close())
	}
	s.lock = lock
	return nil
}

// makeDir makes the directory with its parents, and their entries durable, unless it is there.
func (s *Spool) makeDir() error {
	var parents []string // that get a new entry
	for dir := s.o.Dir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := s.fs.List(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parents = append(parents, filepath.Dir(dir))
	}
	if err := s.fs.Mkdir(s.o.Dir); err != nil {
		return err
	}
	for _, dir := range parents {
		if err := s.fs.SyncDir(dir); err != nil { // the directory can be used all the same
			s.fault("make", "could not sync the parent of a new spool, which a power loss may take", err, nil)
		}
	}
	return nil
}

// readDir reads the directory and the headers of the segments.
func (s *Spool) readDir() error {
	l, err := list(s.fs, s.o.Dir)
	if err != nil {
		return fmt.Errorf("list the directory: %w", err)
	}
	s.number, s.doneMade = l.last, len(l.dones) > 0
	for _, file := range l.segments {
		g, err := s.readHeader(file)
		if err != nil {
			return fmt.Errorf("%s: %w", segmentName(file.number), err)
		}
		_, g.noted = slices.BinarySearch(l.batches, file.number)
		s.segments = append(s.segments, g)
		s.bytes += g.size
		s.toScan = append(s.toScan, g)
		s.unscanned += g.size
	}
	for _, number := range append(l.dones, l.batches...) {
		if _, found := slices.BinarySearchFunc(l.segments, number, listed.compare); !found {
			s.orphans = append(s.orphans, number)
		}
	}
	kept, err := s.fs.List(s.path(quarantineName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s: %w", quarantineName, err)
	}
	for _, e := range kept {
		if isQuarantined(e.Name) {
			s.kept += e.Size
		}
		s.number = max(s.number, quarantinedNumber(e.Name)) // no number is used again as long as it is there
	}
	if s.number >= maxNumber {
		return fmt.Errorf("a file has the number %d: no spool comes that far; move it elsewhere", s.number)
	}
	return nil
}

// readHeader returns the segment in a file. With a damaged header, the segment is marked as lost;
// a header that the disk does not return is read again later. An unknown version is an error.
func (s *Spool) readHeader(l listed) (*segment, error) {
	g := &segment{earlier: true, size: l.size, end: l.size, header: header{number: l.number}}
	f, err := s.fs.OpenRead(s.path(segmentName(l.number)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, readErr, err := readHeaderBlock(f)
	var other versionError
	switch {
	case readErr != nil:
		g.unread = true
		s.fault("read", "could not read the header of a segment; it is tried again", readErr, g)
	case errors.As(err, &other):
		return nil, err
	case err != nil:
		g.lost = true // the loader finds out what is left
	default:
		h.number = l.number // the name counts
		g.header = h
		if h.damaged {
			s.fault("header", "a segment has a damaged copy of its header", nil, g)
		}
	}
	g.bind(s.o.Groups)
	return g, nil
}

// path returns the path of a file in the directory.
func (s *Spool) path(name string) string { return path(s.o.Dir, name) }

// Run does the work of the spool until ctx ends: it syncs, makes segments ahead, scans those of
// earlier runs, writes confirmations, and removes what is confirmed. Append and Next fail with
// ErrClosed once ctx has ended. Run returns after a last sync.
func (s *Spool) Run(ctx context.Context) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	for _, loop := range []func(context.Context){s.runSyncer, s.runConfirmer, s.runKeeper, s.runLoader, s.runNoter} {
		running.Go(func() { loop(work) })
	}
	<-ctx.Done()
	s.mu.Lock()
	s.closeLocked()
	s.mu.Unlock()
	stop()
	running.Wait()
	s.finish()
	s.faults.flush()
}

// Close writes the confirmations that came after Run had returned, closes the files and releases
// the lock. It must not be called while Run is running.
func (s *Spool) Close() error {
	s.mu.Lock()
	s.dissolveAllLocked()
	s.mu.Unlock()
	s.newConfirmer().writeChanged()
	s.mu.Lock()
	s.closeLocked()
	files := s.openFilesLocked()
	s.mu.Unlock()
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// closeLocked makes Append and Next fail from now on.
func (s *Spool) closeLocked() {
	s.closed = true
	s.announceLocked()
	for group := range s.groups {
		s.readableLocked(group)
	}
}

// openFilesLocked returns the open files, which the caller closes. Files that readers still use
// stay open until the process ends.
func (s *Spool) openFilesLocked() (files []File) {
	for _, g := range slices.Concat(s.segments, s.retired) {
		if g.pins == 0 && g.writers == 0 {
			files = appendFiles(files, g)
		}
	}
	return files
}

// appendFiles takes the open files out of a segment.
func appendFiles(files []File, g *segment) []File {
	for _, f := range []*File{&g.file, &g.done, &g.batches} {
		if *f != nil {
			files = append(files, *f)
			*f = nil
		}
	}
	return files
}

// wake lets a goroutine of Run look again.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
