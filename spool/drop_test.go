package spool

import (
	"syscall"
	"testing"
	"time"

	"linesplit/linebuf"
)

// Next waited for the index of the oldest segment when that was dropped. It went on only once other
// lines were appended, though the index of the next segment was in memory.
func TestDropWakesNext(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Buffers, o.DropOldest = linebuf.NewPool(0), true
	s, err := Open(o)
	must(t, err)
	g := &segment{scanned: true}
	g.waiting[0].frames, g.left.frames = 1, 1
	s.segments = []*segment{{skipped: true}, g}
	s.left, s.groups[0].waiting = g.left, g.waiting[0]
	wake := make(chan struct{})
	s.groups[0].wake = wake
	k := keeper{Spool: s}
	if d := k.dropOldestLocked(); d.segment != g { // the other one cannot be opened, and is kept
		t.Fatalf("dropped %+v", d)
	}
	select {
	case <-wake:
	default:
		t.Error("Next goes on waiting")
	}
	must(t, s.Close())
}

// startDropping starts a spool with room for eight segments that drops oldest lines, and cannot
// remove files for which stays is true. It appends 25 segments of lines, and tells of the end.
func startDropping(t *testing.T, stays func(name string) bool) (*rig, <-chan error) {
	f := newHooks()
	f.remove = func(name string) error {
		if stays(name) {
			return syscall.EPERM
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) {
		o.FS, o.Size, o.Segment, o.DropOldest = f, MinSize, minSegment, true
	})
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 400 && err == nil; i++ { // of 8 KiB
			_, err = r.tryAppend(fill(i), 1, 1)
		}
		done <- err
	}()
	return r, done
}

// A file that could not be removed held up all senders: nothing else was dropped as long as it was
// there.
func TestDropsGoOnBesideAFileThatStays(t *testing.T) {
	r, done := startDropping(t, func(name string) bool { return name == segmentName(1) })
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatalf("the sender waits: %+v\n%s", r.Stats(), r.log)
	}
	if s := r.Stats(); s.Dropped.Lines == 0 || s.Faults == 0 || s.Bytes > s.Limit {
		t.Errorf("counted %+v", s)
	}
}

// If no file can be removed, dropping more lines makes no room.
func TestDropsEndIfAllFilesStay(t *testing.T) {
	r, done := startDropping(t, isSegment)
	r.await("removing has failed again and again", func(s Stats) bool { return s.Faults >= 4*(maxStuck+1) })
	const each = minSegment / (8 << 10)
	if s := r.Stats(); s.Dropped.Lines == 0 || s.Dropped.Lines > (maxStuck+1)*each {
		t.Errorf("counted %+v", s)
	}
	r.stop()
	if err := <-done; err != ErrClosed {
		t.Error(err)
	}
}
