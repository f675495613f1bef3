package spool

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// creations counts the segment files that were made new.
type creations struct {
	FS
	segments int // the keeper alone makes them
}

func (c *creations) Create(name string) (File, error) {
	if isSegment(name) {
		c.segments++
	}
	return c.FS.Create(name)
}

// Segments that are confirmed leave their files to later ones, and take no more of the disk than
// without that.
func TestSegmentsTakeOverFiles(t *testing.T) {
	c := &creations{FS: fastFS{OS}}
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Size, o.Segment = c, mib, minSegment })
	const n = 400 // of 8 KiB: 25 segments
	for i := range n {
		r.append(fill(i), 1, 1)
		if got := r.drain(0); got != fill(i) {
			t.Fatalf("line %d: %d bytes came, which begin with %.20q", i, len(got), got)
		}
		if s := r.Stats(); s.Bytes > mib {
			t.Fatalf("line %d: the files have %d bytes", i, s.Bytes)
		}
	}
	made := r.newest()
	r.stop()
	if c.segments > int(made)/2 {
		t.Errorf("%d segments have got %d new files", made, c.segments)
	}
	if left := files(t, r.o.Dir, "*"); !slices.Equal(left, []string{lockName}) {
		t.Errorf("the empty spool has %v", left)
	}
}

// A frame that was not written leaves bytes of an earlier segment in its place. They are no lines:
// only the lines of this segment are delivered, by the next run too, and the frame is reported.
func TestBytesOfEarlierSegmentsAreNoLines(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment = minSegment })
	r.reuse()
	hole := r.buffer(fill(8))
	receipt, err := r.Reserve(hole, 1, 1)
	must(t, err)
	t.Cleanup(func() { r.Write(receipt, hole) })
	r.append("after\n", 1, 1)
	r.await("the frame behind the hole is synced", func(s Stats) bool { return s.Held == hole.Memory() })
	dir := r.snapshot()
	const left = "of a process that was killed"
	must(t, os.WriteFile(filepath.Join(dir, spareName), []byte(left), 0o600))

	report, err := Verify(t.Context(), dir, nil)
	must(t, err)
	if len(report.Faults) != 1 || !strings.HasPrefix(report.Faults[0].Text, "1 frames are missing") {
		t.Errorf("Verify has found %v", report.Faults)
	}
	later := start(t, dir)
	if got := later.drain(0); got != "after\n" {
		t.Errorf("delivered %d bytes, which end in %q", len(got), got[max(0, len(got)-20):])
	}
	if s := later.Stats(); s.Faults != 1 || s.QuarantinedFrames > 0 {
		t.Errorf("counted %+v", s)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, spareName)); string(b) == left {
		t.Error("the spare file of the earlier run is still there")
	}
}

// confirmSegments appends and confirms the lines of n segments.
func (r *rig) confirmSegments(n uint64) {
	r.t.Helper()
	for last := r.newest() + n; r.newest() < last; {
		r.append(fill(1), 1, 1)
		r.drain(0)
	}
	r.synced()
}

// reuse appends and confirms lines until the segment that Append writes to is in a file that
// earlier ones had.
func (r *rig) reuse() {
	r.t.Helper()
	for r.confirmSegments(5); !r.active.header.reused; { // the last file may not have been free in time
		r.confirmSegments(1)
	}
}

// newest returns the number of the segment that Append writes to; 0: there is none.
func (r *rig) newest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active == nil {
		return 0
	}
	return r.active.header.number
}

// In a file that was used before, a wrong byte at any offset of a segment is noticed as well, but
// for the bytes of the earlier segment.
func TestDamageAtEveryOffsetOfUsedFile(t *testing.T) {
	old := newImage()
	old.header.id, old.header.number = segmentID{99}, 5
	for range 20 {
		old.frame(strings.Repeat("an old line\n", 17))
	}
	for _, synced := range []bool{false, true} {
		damageEachByte(t, old, synced)
	}
}

// damageEachByte damages each byte of a segment in turn, in a file that another one had before.
// Where synced is set, each frame knows that all before it were synced.
func damageEachByte(t *testing.T, old *image, synced bool) {
	t.Helper()
	i := newImage()
	for n := range 8 {
		if synced {
			i.synced = i.next
		}
		i.frame(numbered(10*n, 10*n+n+1))
	}
	end := len(i.b)
	i.b = append(i.b, old.b[end:]...)
	id := i.header.id.short()
	whole, damage := scanUsed(i.b, id)
	if len(whole) != 8 || damage != nil {
		t.Fatalf("found %d frames, and damage at %v", len(whole), damage)
	}
	for offset := headerBlock; offset < end; offset++ {
		b := slices.Clone(i.b)
		b[offset] ^= 1
		frames, damage := scanUsed(b, id)
		good := countGood(frames)
		if missing := len(frames) < 8; missing != (len(damage) == 1) {
			t.Fatalf("byte %d: %d frames, and damage at %v", offset, len(frames), damage)
		} else if missing && damage[0][1]-damage[0][0] > 2*extent(220) {
			t.Fatalf("byte %d: all of %v is taken for damage", offset, damage)
		}
		if good < 7 {
			t.Fatalf("byte %d: %d frames of 8", offset, good)
		}
	}
}

// Where a frame was synced, anything else is damage, even if it looks like an earlier segment.
func TestMissingFrameThatWasSyncedIsDamage(t *testing.T) {
	for _, left := range []string{"bytes of an earlier segment", ""} {
		for _, synced := range []uint32{1, 2} {
			i := newImage()
			i.frame(numbered(0, 10))
			hole := [2]int64{int64(len(i.b))}
			i.hole(200)
			copy(i.b[hole[0]:], left)
			hole[1] = int64(len(i.b))
			i.synced = synced
			i.frame(numbered(20, 30))
			frames, damage := scanUsed(i.b, i.header.id.short())
			if len(frames) != 2 {
				t.Fatalf("found %d frames", len(frames))
			}
			if noticed := slices.Equal(damage, [][2]int64{hole}); noticed != (synced == 2) {
				t.Errorf("%q is left, %d frames were synced: damage at %v", left, synced, damage)
			}
		}
	}
}

func scanUsed(b []byte, id uint64) (frames []scannedFrame, damage [][2]int64) {
	return scanFile(b, id, true)
}

// The name of a removed segment may come back after a power loss if the directory was not synced.
// Its file must not have another content then.
func TestFileIsNotTakenOverBeforeItsNameIsGone(t *testing.T) {
	f := newHooks()
	fail := new(faultSwitch)
	f.syncDir = func() error { return fail.get() }
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Segment = f, minSegment })
	r.append(fill(0), 1, 1)
	r.await("the next segment", func(s Stats) bool { return s.Segments == 2 })
	fail.set(os.ErrPermission)
	for r.newest() < 2 {
		r.append(fill(1), 1, 1)
	}
	r.drain(0)
	r.await("the first segment is removed", func(Stats) bool {
		return len(files(t, r.o.Dir, filepath.Base(segmentName(1)))) == 0
	})
	r.await("so is its file", func(Stats) bool { return len(files(t, r.o.Dir, spareName)) == 0 })
	fail.clear()
	r.await("there is a segment again", func(s Stats) bool { return s.Segments == 2 })
	r.confirmSegments(2)
}
