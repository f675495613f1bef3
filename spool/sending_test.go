package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/linebuf"
)

func smallMarked(o *Options) { o.Segment, o.Marked = minSegment, true }

// heldFrame is a frame that a group has in flight.
type heldFrame struct {
	receipt *linebuf.Receipt
	mark    linebuf.Mark
}

func (r *rig) hold(text string) heldFrame {
	r.t.Helper()
	receipt := r.append(text, 1, 0)
	return heldFrame{receipt, recordOf(receipt).mark()}
}

// acrossSegments appends frames of two lines, the first of them alone in the first segment with
// others, which it returns, too.
func (r *rig) acrossSegments(n int) (frames, others []heldFrame) {
	r.t.Helper()
	frames = append(frames, r.hold(frameText(1)))
	for r.newest() == 1 {
		others = append(others, r.hold(fill(1)))
	}
	for i := 2; i <= n; i++ {
		frames = append(frames, r.hold(frameText(i)))
	}
	return frames, others[:len(others)-1] // the last one is in the second segment
}

// A batch that was confirmed, which was about to be noted, went on under the same name: the note
// covered frames that were only sent, and a crash lost them.
func TestConfirmedBatchThatGoesOn(t *testing.T) {
	f := newHooks()
	hang := make(chan struct{})
	f.write = func(name string, _ int64) error {
		if strings.HasSuffix(name, batchesSuffix) {
			<-hang
		}
		return nil
	}
	r := start(t, t.TempDir(), smallMarked, func(o *Options) { o.FS = f })
	x, _ := r.acrossSegments(3)
	r.NoteBatch(0, x[0].mark, []linebuf.Run{{First: x[0].mark, Lines: 1}, {First: x[1].mark, Lines: 2}})
	r.confirm(x[0].receipt, 0)
	r.confirm(x[1].receipt, 0)
	r.NoteBatch(0, x[0].mark, []linebuf.Run{{First: x[0].mark.Plus(1), Lines: 1}, {First: x[2].mark, Lines: 2}})
	close(hang)
	r.await("two frames are confirmed", func(s Stats) bool { return s.Groups[0].Confirmed.Lines == 4 })
	r.written()
	again := start(t, r.snapshot(), smallMarked)
	if got := strings.Join(again.buffers(0), ""); !strings.Contains(got, frameText(3)) {
		t.Error("a frame that was not confirmed is lost")
	}
}

// The second part of a batch that is sent again in parts is a batch of its own.
func TestSecondPartOfABatch(t *testing.T) {
	r := start(t, t.TempDir(), marked)
	var x []heldFrame
	for i := range 4 {
		x = append(x, r.hold(frameText(i+1)))
	}
	r.note(0, x[0].mark, x[1].mark)
	r.confirm(x[0].receipt, 0)
	r.confirm(x[1].receipt, 0)
	r.written()
	r.NoteBatch(0, x[0].mark, []linebuf.Run{{First: x[2].mark, Lines: 2}, {First: x[3].mark, Lines: 2}})
	again := start(t, r.snapshot(), marked)
	again.wantBuffers(0, frameTexts(3, 4))
}

// The note that a batch is confirmed went with the segment that had it, before the confirmations in
// others were written: after a crash, frames of these came again, without the rest of their batch.
func TestConfirmedBatchOfASegmentThatIsRemoved(t *testing.T) {
	f := newHooks()
	f.write = func(name string, _ int64) error {
		if strings.HasSuffix(name, doneSuffix) {
			return errors.New("no confirmations")
		}
		return nil
	}
	f.remove = func(string) error { return errors.New("not removed") }
	r := start(t, t.TempDir(), smallMarked, func(o *Options) { o.FS = f })
	x, others := r.acrossSegments(3)
	m := []linebuf.Mark{x[0].mark}
	for _, o := range others {
		m = append(m, o.mark)
	}
	r.note(0, append(m, x[1].mark)...)
	r.synced()
	for _, o := range append(others, x[:2]...) {
		r.confirm(o.receipt, 0)
	}
	r.await("confirmations fail", func(s Stats) bool { return s.WriteErrors > 0 })

	g := newHooks() // a second run can open only the first segment, and is killed
	var opened atomic.Int32
	g.openRead = func(name string) error {
		if name == segmentName(2) && opened.Add(1) > 1 {
			return errors.New("not now")
		}
		return nil
	}
	second := start(t, r.snapshot(), smallMarked, func(o *Options) { o.FS = g })
	second.await("the first segment is removed", func(Stats) bool {
		return len(files(t, second.o.Dir, segmentName(1))) == 0
	})
	third := start(t, second.snapshot(), smallMarked)
	if got := strings.Join(third.buffers(0), ""); strings.Contains(got, frameText(2)) || !strings.Contains(got, frameText(3)) {
		t.Errorf("%d bytes come again, with those of a confirmed batch", len(got))
	}
}

// A record of several frames may have one that completes a batch, with others behind it.
func TestRecordWithABatch(t *testing.T) {
	r := start(t, t.TempDir())
	var m []linebuf.Mark
	var receipts []*linebuf.Receipt
	for i := range 3 {
		x := r.hold(frameText(i + 1))
		m, receipts = append(m, x.mark), append(receipts, x.receipt)
	}
	r.synced()
	for _, one := range receipts {
		b := r.pool.MustGet(1)
		b.Attach(one, 1)
		b.Return(r.Postpone)
		r.pool.Put(b)
	}
	b := r.next(0)
	if b.Lines != 6 {
		t.Fatalf("%q", b.B)
	}
	r.note(0, m[0], m[1])
	r.pool.Put(b)
	r.await("all is confirmed", func(s Stats) bool { return s.Unconfirmed.Lines == 0 })
}

// Two connections send batches, some of them in parts, and one ends in the middle. After a crash at
// any time, each line that is not confirmed comes again.
func TestCrashWhileBatchesAreSent(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		small := func(o *Options) { o.Segment, o.Marked, o.Size = minSegment, true, 16*mib }
		r := start(t, t.TempDir(), small)
		var x []heldFrame
		for i := range 12 {
			x = append(x, r.hold(fmt.Sprintf("<%d> %s\n", i, strings.Repeat("x", 30<<10))))
		}
		order := rng.Perm(len(x))
		var open [12]bool
		var senders sync.WaitGroup
		for _, part := range [][]int{order[:6], order[6:]} {
			own := rand.New(rand.NewPCG(rng.Uint64(), 0))
			senders.Go(func() { r.sendInParts(x, part, own, &open) })
		}
		senders.Wait()
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		again := start(t, r.snapshot(), small)
		got := strings.Join(again.buffers(0), "")
		for i, open := range open {
			if open && !strings.Contains(got, fmt.Sprintf("<%d> ", i)) {
				t.Errorf("seed %d: frame %d is lost", seed, i)
			}
		}
		again.stop()
		r.stop()
	}
}

// sendInParts sends frames, which x has in the given order, in parts that have the name of the
// first one, and confirms them, perhaps but for the last part. It notes those that are open.
func (r *rig) sendInParts(x []heldFrame, order []int, rng *rand.Rand, open *[12]bool) {
	for first, left := x[order[0]].mark, order; len(left) > 0; {
		n := 1 + rng.IntN(len(left))
		var runs []linebuf.Run
		for _, i := range left[:n] {
			runs = append(runs, linebuf.Run{First: x[i].mark, Lines: 1})
		}
		r.NoteBatch(0, first, runs)
		last := n == len(left) && rng.IntN(2) == 0
		for _, i := range left[:n] {
			if last {
				open[i] = true
			} else {
				r.confirm(x[i].receipt, 0)
			}
		}
		left = left[n:]
	}
}
