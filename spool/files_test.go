package spool

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// A segment is removed with its confirmations once all groups have confirmed all of its lines.
func TestConfirmedSegmentsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, func(o *Options) { o.Segment, o.Groups = minSegment, []string{"a", "b"} })
	line := strings.Repeat("x", 8*kib-1) + "\n"
	for i := range 100 {
		receipt := r.append(line, 3, 0)
		r.confirm(receipt, 0)
		if i != 20 {
			r.confirm(receipt, 1)
		} else {
			defer r.confirm(receipt, 1)
		}
	}
	r.await("all segments but three are removed", func(s Stats) bool { return s.Segments == 3 })
	if got := files(t, dir, "*.seg"); len(got) != 3 || got[0] != segmentName(2) {
		t.Errorf("left are %q", got)
	}
	if s := r.Stats(); s.Bytes != 3*minSegment || s.Unconfirmed.Lines != 1 || s.Oldest.IsZero() {
		t.Errorf("counted %+v", s)
	}
}

// What earlier runs have left in pieces is removed: confirmations without a segment, and segments
// that were made and never written to.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	h := testHeader()
	must(t, os.WriteFile(filepath.Join(dir, doneName(3)), encodeDoneHeader(&h.id, 3), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, segmentName(4)), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, segmentName(5)), make([]byte, 64*kib), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, segmentName(6)), append(h.encode(), make([]byte, 64*kib)...), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(dir, segmentName(9)), 0o700))
	r := start(t, dir)
	r.append(numbered(0, 10), 1, 1)
	r.scanned()
	r.await("what is left over is removed", func(s Stats) bool {
		return len(files(t, dir, "*.seg"))+len(files(t, dir, "*.done")) == 3 // active, ahead, and the directory
	})
	if s := r.Stats(); s.Faults != 0 {
		t.Errorf("counted %+v", s)
	}
	if files(t, dir, "notes.txt") == nil {
		t.Error("a file of another kind was removed")
	}
}

// A segment has disappeared while the spool was in use. The others are delivered, and it is said.
func TestMissingSegment(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
	line := strings.Repeat("x", 8*kib-1) + "\n"
	for range 100 {
		r.append(line, 1, 1)
	}
	r.await("segments in the middle are not in memory", func(Stats) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.segments[3].loaded
	})
	must(t, os.Remove(filepath.Join(r.o.Dir, segmentName(4))))
	got := r.drain(0)
	s := r.Stats()
	if uint64(len(got)/len(line))+s.Dropped.Lines != 100 || s.Dropped.Lines == 0 || s.Faults == 0 {
		t.Errorf("delivered %d lines; %+v", len(got)/len(line), s)
	}
}

// A power loss took a new spool whose entry in its parent was not synced.
func TestNewDirectoriesAreSynced(t *testing.T) {
	parent := t.TempDir()
	fsys := &dirSyncs{FS: fastFS{OS}}
	for _, want := range [][]string{{"new", "."}, nil} { // it is there the second time
		fsys.dirs = nil
		s, err := Open(Options{
			Dir: filepath.Join(parent, "new", "spool"), Size: MinSize, Groups: []string{"a"},
			Buffers: linebuf.NewPool(0), FS: fsys,
		})
		must(t, err)
		must(t, s.Close())
		for i, dir := range want {
			want[i] = filepath.Join(parent, dir)
		}
		if !slices.Equal(fsys.dirs, want) {
			t.Errorf("synced are %q, want %q", fsys.dirs, want)
		}
	}
}

// dirSyncs notes which directories are synced.
type dirSyncs struct {
	FS
	dirs []string
}

func (f *dirSyncs) SyncDir(dir string) error {
	f.dirs = append(f.dirs, dir)
	return f.FS.SyncDir(dir)
}

// A segment was made 60 days before it got lines. The oldest of them seemed to be 35 days old.
func TestOldestInASegmentMadeLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir())
		r.append("confirmed\n", 1, 1) // so that the segment is there
		r.drain(0)
		time.Sleep(60 * 24 * time.Hour)
		read := time.Now()
		r.append(numbered(0, 10), 1, 1)
		r.synced()
		again := start(t, r.snapshot())
		again.scanned()
		for _, s := range []Stats{r.Stats(), again.Stats()} {
			if age := read.Sub(s.Oldest); age < 0 || age > time.Second {
				t.Errorf("lines that were read at %v are held for read at %v", read, s.Oldest)
			}
		}
		r.stop()
		again.stop()
	})
}

// Indexes of segments that nothing is read from or written to are not in memory, and lines are
// delivered in order all the same.
func TestFewIndexesInMemory(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
	const n = 500
	for i := range n {
		r.append(fill(i), 1, 1)
	}
	r.synced()
	r.await("few indexes are in memory", func(s Stats) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		loaded := 0
		for _, g := range r.segments {
			if g.loaded {
				loaded++
			}
		}
		return len(r.segments) > 20 && loaded <= aheadOfNext+1
	})
	var want strings.Builder
	for i := range n {
		want.WriteString(fill(i))
	}
	if got := r.drain(0); got != want.String() {
		t.Error("the lines are not what was appended, in order")
	}
}

// An earlier run has left many segments. Their indexes and files are not kept until the last one is
// scanned: that was more memory and more open files than a process has.
func TestScanKeepsFewFilesOpen(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
	for i := range 500 {
		r.append(fill(i), 1, 1)
	}
	r.synced()
	dir := r.snapshot()
	f := newHooks()
	again := start(t, dir, func(o *Options) { o.FS = f })
	again.scanned()
	if most := f.mostOpen(); len(files(t, dir, "*.seg")) < 30 || most > 8 {
		t.Errorf("%d files were open at once", most)
	}
}

// A segment has a limited number of frames, so that the index of one with small frames does not
// take memory beyond any budget.
func TestSegmentsHaveFewFrames(t *testing.T) {
	s := &Spool{o: Options{Size: mib, Hold: mib}, limit: mib, all: 1, groups: make([]groupState, 1)}
	s.active, s.ready = &segment{size: mib}, &segment{size: mib}
	for _, frames := range []uint32{maxFrames - 1, maxFrames} {
		s.active.index.frames = frames
		must(t, s.admitLocked(128, 128))
		if rotated := s.ready == nil; rotated != (frames == maxFrames) {
			t.Errorf("%d frames: rotated is %v", frames, rotated)
		}
	}
}

// A buffer that is larger than a segment gets one of its own size. One that takes more than half of
// the spool is refused.
func TestLargeBuffers(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Size, o.Segment = 4*mib, minSegment })
	large := strings.Repeat("y", mib-1) + "\n"
	var want strings.Builder
	for i := range 3 {
		r.append(numbered(i, i+1), 1, 1)
		r.append(large, 1, 1)
		want.WriteString(numbered(i, i+1) + large)
	}
	if got := r.drain(0); got != want.String() {
		t.Errorf("delivered %d bytes of %d, or in another order", len(got), want.Len())
	}
	if _, err := r.tryAppend(strings.Repeat("z", 2*mib), 1, 1); err != ErrTooLarge {
		t.Errorf("Append returns %v", err)
	}
	if s := r.Stats(); s.Bytes > 4*mib {
		t.Errorf("counted %+v", s)
	}
}

// Frames of several framings in a row come back in buffers of one framing each.
func TestFramingsAreKept(t *testing.T) {
	r := start(t, t.TempDir())
	texts := []string{"a\n", "b\n", "c\x00", "3 d\n\n", "3 e\n\n", "f\n"}
	framings := []framing.Framing{framing.Newline, framing.Newline, framing.NUL, framing.Octet, framing.Octet, framing.Newline}
	for i, text := range texts {
		b := r.buffer(text)
		b.Lines, b.Framing = 1, framings[i]
		for {
			_, err := r.Append(b, 1, 1)
			if err == nil {
				break
			}
			<-r.Room()
		}
	}
	r.synced()
	for _, want := range []struct {
		text  string
		lines int
		framing.Framing
	}{{"a\nb\n", 2, framing.Newline}, {"c\x00", 1, framing.NUL}, {"3 d\n\n3 e\n\n", 2, framing.Octet}, {"f\n", 1, framing.Newline}} {
		b := r.next(0)
		if string(b.B) != want.text || b.Lines != want.lines || b.Framing != want.Framing {
			t.Errorf("got %q, %d lines, %v; want %v", b.B, b.Lines, b.Framing, want)
		}
		r.pool.Put(b)
	}
}

// The file of confirmations cannot be written for a while. Nothing is lost, and it is written in
// the end.
func TestConfirmationsAreTriedAgain(t *testing.T) {
	f, fail := newHooks(), new(faultSwitch)
	f.write = func(name string, offset int64) error {
		if !isSegment(name) {
			return fail.get()
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS = f })
	r.append("open\n", 1, 1)
	r.synced()
	fail.set(syscall.EIO)
	r.confirm(r.append("confirmed\n", 1, 0), 0)
	r.await("the fault", func(s Stats) bool { return s.Faults > 0 })
	fail.clear()
	r.written()
	if got := start(t, r.snapshot()).drain(0); got != "open\n" {
		t.Errorf("delivered again: %q", got)
	}
}
