package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// overwrite writes zeros to n bytes of a file.
func overwrite(t *testing.T, name string, offset int64, n int) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, n), offset)
	must(t, err)
}

// unsynced makes the last segment of a rig hold three frames that are not synced, in a file that
// earlier segments had, and returns a copy of the directory, the path of the segment in it, and the
// offset of the second frame.
func (r *rig) unsynced() (dir, segment string, at int64) {
	r.t.Helper()
	r.reuse()
	at = r.active.end + extent(len(numbered(0, 10)))
	for i := range 3 {
		r.append(numbered(10*i, 10*i+10), 1, 1)
	}
	if r.Stats().Held == 0 {
		r.t.Fatal("the frames are synced")
	}
	r.written()
	dir = r.snapshot()
	return dir, filepath.Join(dir, segmentName(r.newest())), at
}

// A header was destroyed within the last sync interval, in a file that was used before: its lines
// disappeared without a trace, since they could have been those of an earlier segment.
func TestMissingFrameIsReported(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment, o.Sync = minSegment, time.Hour })
	dir, segment, at := r.unsynced()
	overwrite(t, segment, at, frameHeader)

	report, err := Verify(t.Context(), dir, nil)
	must(t, err)
	const want = "1 frames are missing at "
	if len(report.Faults) != 1 || !strings.HasPrefix(report.Faults[0].Text, want) {
		t.Errorf("Verify has found %+v", report.Faults)
	}
	again := start(t, dir)
	if got := again.drain(0); got != numbered(0, 10)+numbered(20, 30) {
		t.Errorf("delivered %q", got)
	}
	if s := again.Stats(); s.Faults != 1 || !strings.Contains(s.LastFault, "are missing") {
		t.Errorf("counted %+v", s)
	}
	kept := files(t, filepath.Join(dir, quarantineName), "*"+rawSuffix)
	if len(kept) != 1 {
		t.Fatalf("quarantine has %q", kept)
	}
	text, err := os.ReadFile(filepath.Join(dir, quarantineName, kept[0]))
	must(t, err)
	if !strings.Contains(string(text), numbered(10, 20)) {
		t.Error("the lines are not in quarantine")
	}
}

// A segment was cut off at a frame: what was behind it disappeared without a trace, although the
// confirmations told of later frames.
func TestSegmentThatIsCutOffIsReported(t *testing.T) {
	r := start(t, t.TempDir())
	for i := range 20 {
		receipt := r.append(numbered(10*i, 10*i+10), 1, 0)
		if i == 18 {
			r.confirm(receipt, 0)
		}
	}
	r.written()
	r.synced()
	dir := r.snapshot()
	must(t, os.Truncate(filepath.Join(dir, segmentName(1)), recordEnd(r, 5)))

	report, err := Verify(t.Context(), dir, nil)
	must(t, err)
	const want = "12 frames are missing at " // 6 to 17: nothing tells of the last one
	if len(report.Faults) != 1 || !strings.HasPrefix(report.Faults[0].Text, want) {
		t.Errorf("Verify has found %+v", report.Faults)
	}
	again := start(t, dir)
	if got := again.drain(0); got != numbered(0, 60) {
		t.Errorf("delivered %q", got)
	}
	if s := again.Stats(); s.Faults != 1 || !strings.Contains(again.log.String(), "frames=12") {
		t.Errorf("counted %+v; log: %s", s, again.log)
	}
}

// recordEnd returns the offset behind frame n of the active segment.
func recordEnd(r *rig, n uint32) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.active.index.entry(n)
	return e.offset() + extent(int(e.length))
}

// A block of confirmations that the disk returned as zeros passed for one that had not been
// written, so that its lines came twice without a word.
func TestZerosInConfirmationsAreReported(t *testing.T) {
	groups := func(o *Options) { o.Groups, o.Segment = []string{"a", "b"}, 4*mib }
	r := start(t, t.TempDir(), groups)
	const frames = 2*doneFrames + 10
	for range frames {
		receipt := r.append("line\n", 3, 0)
		if recordOf(receipt).from >= doneFrames { // the first blocks have no bit
			r.confirm(receipt, 1)
		}
	}
	r.written()
	dir := r.snapshot()
	again := start(t, dir, groups)
	again.scanned()
	if s := again.Stats(); s.Faults > 0 || s.Groups[0].Waiting.Lines != frames || s.Groups[1].Waiting.Lines != doneFrames {
		t.Errorf("counted %+v", s)
	}
	again.stop()
	for block := range int64(6) {
		dir := r.snapshot()
		overwrite(t, filepath.Join(dir, doneName(1)), doneBlock*(1+block), doneBlock)
		again := start(t, dir, groups)
		again.scanned()
		if s := again.Stats(); s.Faults != 1 || !strings.Contains(again.log.String(), "confirmations are damaged") {
			t.Errorf("block %d: counted %+v", block, s)
		}
		again.stop()
	}
}

// A frame that only one of two groups needed, and has confirmed, may be missing after a power loss.
// Nor are frames missing that a fault of the disk had made go to another segment.
func TestFramesThatNoGroupNeedsMayBeMissing(t *testing.T) {
	groups := func(o *Options) { o.Groups, o.Sync = []string{"a", "b"}, time.Hour }
	r := start(t, t.TempDir(), groups)
	r.confirm(r.append(numbered(0, 10), 1, 0), 0)
	r.append(numbered(10, 20), 3, 3) // before the first is synced: later it would tell of that
	r.hurry()
	r.synced()
	r.written()
	dir := r.snapshot()
	overwrite(t, filepath.Join(dir, segmentName(1)), headerBlock, int(extent(len(numbered(0, 10)))))
	report, err := Verify(t.Context(), dir, nil)
	must(t, err)
	if len(report.Faults) > 0 {
		t.Errorf("Verify has found %+v", report.Faults)
	}
	again := start(t, dir, groups)
	if got := again.drain(1); got != numbered(10, 20) || again.Stats().Faults > 0 {
		t.Errorf("delivered %q; %+v", got, again.Stats())
	}
}

// A frame that had been synced was read as zeros. It was not noticed, since the frames up to the
// next one did not tell that it had been synced.
func TestFrameOfZerosIsReported(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Sync = time.Hour })
	for i := range 3 {
		r.append(numbered(10*i, 10*i+10), 1, 1)
	}
	r.hurry()
	r.synced()
	r.append(numbered(30, 40), 1, 1)
	dir := r.snapshot()
	size := extent(len(numbered(0, 10)))
	overwrite(t, filepath.Join(dir, segmentName(1)), headerBlock+size, int(size))
	report, err := Verify(t.Context(), dir, nil)
	must(t, err)
	if len(report.Faults) != 1 {
		t.Errorf("Verify has found %+v", report.Faults)
	}
	again := start(t, dir)
	if got := again.drain(0); got != numbered(0, 10)+numbered(20, 40) || again.Stats().Faults != 1 {
		t.Errorf("delivered %q; %+v", got, again.Stats())
	}
}

// A segment was cut off in front of its first frame. Its lines disappeared without a trace, though
// some of them were confirmed.
func TestSegmentWithoutFramesIsReported(t *testing.T) {
	r := start(t, t.TempDir())
	r.confirm(r.append(numbered(0, 10), 1, 0), 0)
	r.append(numbered(10, 20), 1, 1)
	r.synced()
	r.written()
	for _, size := range []int64{0, 100} {
		dir := r.snapshot()
		must(t, os.Truncate(filepath.Join(dir, segmentName(1)), size))
		report, err := Verify(t.Context(), dir, nil)
		must(t, err)
		if len(report.Faults) != 1 {
			t.Errorf("%d bytes: Verify has found %+v", size, report.Faults)
		}
		again := start(t, dir)
		again.scanned()
		if n := again.Stats().Faults; n != 1 {
			t.Errorf("%d bytes: %d faults\n%s", size, n, again.log)
		}
		again.stop()
	}
}

// A file with a very high number made all new lines disappear at the next start: the names of later
// files were not taken for those of segments.
func TestHighestNumbersAreRefused(t *testing.T) {
	for _, name := range []string{
		"4611686018427387904.seg", "9223372036854775807.seg", "9223372036854775807.done",
		quarantineName + "/4611686018427387904-0123456789abcdef-00004096.raw",
	} {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, quarantineName), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
		if r, err := tryStart(t, dir); err == nil || !strings.Contains(err.Error(), "has the number") {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}
