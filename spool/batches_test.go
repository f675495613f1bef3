package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/linebuf"
)

// marked has Next return frames by themselves, and batches together.
func marked(o *Options) { o.Marked = true }

// appendMarked appends n frames of two lines for all groups of a rig, and returns their marks.
func (r *rig) appendMarked(n int, groups linebuf.Groups) (marks []linebuf.Mark) {
	r.t.Helper()
	for range n {
		r.frames++
		marks = append(marks, recordOf(r.append(frameText(r.frames), groups, 0)).mark())
	}
	return marks
}

// frameText returns the lines of the n-th frame of appendMarked, from 1.
func frameText(n int) string { return fmt.Sprintf("%d first\n%d second\n", n, n) }

// frameTexts returns those of several.
func frameTexts(frames ...int) (text string) {
	for _, n := range frames {
		text += frameText(n)
	}
	return text
}

// note notes that whole frames are sent together.
func (r *rig) note(group int, frames ...linebuf.Mark) {
	var runs []linebuf.Run
	for _, m := range frames {
		runs = append(runs, linebuf.Run{First: m, Lines: 2})
	}
	r.NoteBatch(group, frames[0], runs)
}

// buffers returns the text of each buffer of a group until nothing waits, and confirms them. It
// fails unless the marks of each are as noted.
func (r *rig) buffers(group int) (all []string) {
	r.t.Helper()
	for r.scanned(); r.behind(group); {
		b, err := r.nextOrNone(group)
		must(r.t, err)
		if b == nil {
			continue
		}
		all = append(all, string(b.B))
		if runs := b.Runs(); runs != nil {
			lines := 0
			for _, run := range runs {
				lines += run.Lines
			}
			if b.Batch != runs[0].First || b.Origin != b.Batch || lines != b.Lines || b.Lines != strings.Count(string(b.B), "\n") {
				r.t.Errorf("the lines %q have the marks %v, and their batch %v", b.B, runs, b.Batch)
			}
		} else if !b.Batch.IsZero() {
			r.t.Errorf("the lines %q are a batch by themselves", b.B)
		}
		r.pool.Put(b)
	}
	return all
}

func (r *rig) wantBuffers(group int, want ...string) {
	r.t.Helper()
	if got := r.buffers(group); !slices.Equal(got, want) {
		r.t.Errorf("group %d got %q, want %q\n%s", group, got, want, r.log)
	}
}

// Frames that were sent together come back together after a crash, in their order, to the group
// that they were sent to, and the others by themselves.
func TestBatchesComeBack(t *testing.T) {
	groups := func(o *Options) { o.Groups, o.Marked = []string{"a", "b"}, true }
	r := start(t, t.TempDir(), groups)
	m := r.appendMarked(7, 3)
	r.note(0, m[1], m[4], m[3])
	r.note(0, m[5])
	r.note(1, m[0], m[1])
	r.NoteBatch(1, m[0], []linebuf.Run{{First: m[1].Plus(1), Lines: 1}, {First: m[6], Lines: 2}}) // no frame: not noted
	r.NoteBatch(1, m[0], []linebuf.Run{{First: m[0].Plus(1), Lines: 1}, {First: m[2], Lines: 2}}) // the rest of a large frame

	again := start(t, r.snapshot(), groups)
	again.wantBuffers(0, frameText(1), frameTexts(2, 5, 4), frameText(3), frameText(6), frameText(7))
	again.wantBuffers(1, frameTexts(1, 2, 3), frameText(4), frameText(5), frameText(6), frameText(7))
	again.await("the segment is removed", func(s Stats) bool { return s.Segments <= 1 })
	again.stop()
	if left := files(t, again.o.Dir, "*"); !slices.Equal(left, []string{lockName}) {
		t.Errorf("the empty spool has %v", left)
	}
}

// A batch of which frames are confirmed has gone elsewhere in parts, or all of it is about to be
// confirmed: the others come by themselves. They are never taken for confirmed.
func TestBatchesThatAreConfirmedInPart(t *testing.T) {
	r := start(t, t.TempDir(), marked)
	first := recordOf(r.append(frameText(1), 1, 0))
	r.frames = 1
	m := append([]linebuf.Mark{first.mark()}, r.appendMarked(2, 1)...)
	last := r.append(frameText(4), 1, 0)
	m = append(m, recordOf(last).mark())
	r.confirm(&first.Receipt, 0)
	r.note(0, m[3], m[0], m[2]) // by a connection that is not used any more
	r.confirm(last, 0)
	r.await("two frames are confirmed", func(s Stats) bool { return s.Unconfirmed.Lines == 4 })
	r.written()
	again := start(t, r.snapshot(), marked)
	again.wantBuffers(0, frameText(2), frameText(3))
}

// A batch may have frames of two segments.
func TestBatchesAcrossSegments(t *testing.T) {
	small := func(o *Options) { o.Segment, o.Marked = minSegment, true }
	r := start(t, t.TempDir(), small)
	m := r.appendMarked(2, 1)
	for r.newest() == 1 {
		r.append(fill(1), 1, 1)
	}
	m = append(m, r.appendMarked(2, 1)...)
	r.note(0, m[0], m[3])
	r.note(0, m[2], m[1])
	again := start(t, r.snapshot(), small)
	got := again.buffers(0)
	if got[0] != frameTexts(1, 4) || got[1] != frameTexts(3, 2) {
		t.Errorf("got %q and %q first", got[0], got[1])
	}
}

// A file of batches may be damaged or end anywhere. The batches in front of that are as they were,
// and no line is missing or comes twice.
func TestDamagedBatches(t *testing.T) {
	r := start(t, t.TempDir(), marked)
	m := r.appendMarked(6, 1)
	r.note(0, m[0], m[2])
	r.note(0, m[1], m[4], m[5])
	text, err := os.ReadFile(filepath.Join(r.o.Dir, batchesName(1)))
	must(t, err)
	want := []string{frameTexts(1, 3), frameTexts(2, 5, 6), frameText(4)}
	second := batchHeader + 2*batchRun // of the first record: its name, and frame 3
	for at := 0; at <= len(text); at += 4 {
		for _, cut := range []bool{true, false} {
			dir, name := r.snapshot(), batchesName(1)
			b := slices.Clone(text)
			if b = b[:at]; !cut {
				if at == len(text) {
					continue
				}
				b = slices.Clone(text)
				b[at] ^= 1
			}
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
			again := start(t, dir, marked)
			got := again.buffers(0)
			again.stop()
			joined := strings.Join(got, "")
			for i := 1; i <= 6; i++ {
				if strings.Count(joined, frameText(i)) != 1 {
					t.Fatalf("byte %d, cut off: %v: got %q", at, cut, got)
				}
			}
			switch {
			case at >= second && got[0] != want[0], at == len(text) && !slices.Equal(got, want), at < second && got[0] == want[0]:
				t.Fatalf("byte %d, cut off: %v: got %q", at, cut, got)
			}
		}
	}
}

// A frame of a batch is damaged: it goes to quarantine, and the others are delivered.
func TestBatchWithADamagedFrame(t *testing.T) {
	r := start(t, t.TempDir(), marked)
	m := r.appendMarked(3, 1)
	at := recordEnd(r, 0) + frameHeader
	r.note(0, m[0], m[1], m[2])
	dir := r.snapshot()
	overwrite(t, filepath.Join(dir, segmentName(1)), at, 2)
	again := start(t, dir, marked)
	again.wantBuffers(0, frameText(1), frameText(3))
	if s := again.Stats(); s.QuarantinedFrames != 1 {
		t.Errorf("counted %+v", s)
	}
}

// A disk that takes nothing holds up the sending of lines for a second once, and not for each
// batch. What the disk refuses is reported.
func TestNotesDoNotWaitForTheDisk(t *testing.T) {
	f := newHooks()
	hang := make(chan struct{})
	f.write = func(name string, _ int64) error {
		if strings.HasSuffix(name, batchesSuffix) {
			<-hang
			return os.ErrPermission
		}
		return nil
	}
	r := start(t, t.TempDir(), marked, func(o *Options) { o.FS = f })
	m := r.appendMarked(20, 1)
	began := time.Now()
	for _, one := range m {
		r.note(0, one)
	}
	if took := time.Since(began); took < noteWithin || took > 5*noteWithin {
		t.Errorf("20 notes took %v", took)
	}
	close(hang)
	r.await("the fault is counted", func(s Stats) bool { return s.Faults > 0 })
	if !strings.Contains(r.log.String(), "could not note which lines are sent together") {
		t.Error(r.log)
	}
}

// Batches that are sent again and again are noted once.
func TestNotesDoNotRepeat(t *testing.T) {
	r := start(t, t.TempDir(), marked)
	m := r.appendMarked(2, 1)
	for range 100 {
		r.note(0, m...)
	}
	info, err := os.Stat(filepath.Join(r.o.Dir, batchesName(1)))
	must(t, err)
	if want := int64(batchHeader + 2*batchRun); info.Size() != want {
		t.Errorf("the file has %d bytes, want %d", info.Size(), want)
	}
}

// The frames of a batch are confirmed together, whatever the order, so that no crash leaves a part
// of the batch behind.
func TestBatchIsConfirmedAtOnce(t *testing.T) {
	r := start(t, t.TempDir(), marked)
	var receipts []*linebuf.Receipt
	for i := range 4 {
		receipts = append(receipts, r.append(frameText(i+1), 1, 0))
	}
	mark := func(i int) linebuf.Mark { return recordOf(receipts[i]).mark() }
	m := []linebuf.Mark{mark(0), mark(1), mark(2), mark(3)}
	r.note(0, m[0], m[2], m[3])
	r.confirm(receipts[3], 0)
	r.confirm(receipts[0], 0)
	r.confirm(receipts[1], 0) // in no batch
	r.synced()
	r.written()
	again := start(t, r.snapshot(), marked)
	again.wantBuffers(0, frameTexts(1, 3, 4))
	again.stop()
	r.confirm(receipts[2], 0)
	r.await("all is confirmed", func(s Stats) bool { return s.Unconfirmed.Lines == 0 })

	// A batch that is sent in another composition, or of which lines are given back, does not hold
	// up confirmations.
	receipts = nil
	for i := range 4 {
		receipts = append(receipts, r.append(frameText(i+1), 1, 0))
	}
	m = []linebuf.Mark{mark(0), mark(1), mark(2), mark(3)}
	r.note(0, m[0], m[1])
	r.note(0, m[2], m[3])
	r.confirm(receipts[0], 0)
	r.confirm(receipts[3], 0)
	r.note(0, m[1], m[0], m[2]) // one is confirmed by now
	r.await("two frames are confirmed", func(s Stats) bool { return s.Unconfirmed.Lines == 4 })
	r.stop()
	if s := r.Stats(); s.Unconfirmed.Lines != 4 || len(r.groups[0].sending) > 0 {
		t.Errorf("%+v", s)
	}
}

func FuzzBatches(f *testing.F) {
	g := &segment{header: testHeader()}
	g.bind([]string{"a", "archive"})
	r := batchRecord{group: 1, runs: []frameRun{{g.header.id.short(), 3, 1}, {9, 1, 1}}}
	one := r.append(nil, &g.header.id)
	f.Add(one)
	f.Add(r.append(one, &g.header.id)[:len(one)+30])
	f.Fuzz(func(t *testing.T, b []byte) {
		batches, size, err := readBatches(strings.NewReader(string(b)), g)
		if err != nil || size > int64(len(b)) {
			t.Fatal(size, err)
		}
		for _, one := range batches {
			if one.group < 0 || one.group > 1 || len(one.frames) > maxBatchFrames {
				t.Fatalf("%+v", one)
			}
		}
	})
}
