package fanout

import (
	"log/slog"
	"testing"
	"testing/synctest"

	"linesplit/linebuf"
)

// issued is a record of lines, by group.
type issued struct {
	linebuf.Receipt
	released [Max]int
}

func (x *issued) Released(_ *linebuf.Receipt, group int) { x.released[group]++ }

// Each required group releases its part of a receipt; a best-effort group has none, whether it gets
// the lines or not.
func TestEachGroupReleasesItsReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Name: "main", Required: true, Queue: 9}, Options{Name: "archive", Budget: 100, Queue: 9},
			Options{Name: "audit", Required: true, Queue: 9})
		all := make([]issued, 3)
		for i := range all {
			b := r.buffer()
			all[i].Init(&all[i])
			b.Attach(&all[i].Receipt, 0b101)
			r.lines <- b
		}
		synctest.Wait()
		close(r.lines)
		<-r.ended
		for _, group := range []int{1, 2, 0} { // the second one dropped two
			for b := range r.fan.Groups()[group].Lines() {
				if b.Kept() != (group != 1) {
					t.Errorf("group %d: a buffer has receipts: %v", group, b.Kept())
				}
				r.note(group, b)
			}
			for i := range all {
				want := [Max]int{}
				for g := range want {
					if g == 2 && group != 1 || g == 0 && group == 0 {
						want[g] = 1
					}
				}
				if all[i].released != want {
					t.Errorf("after group %d, receipt %d is released %v", group, i, all[i].released)
				}
			}
		}
		r.check()
	})
}

// What waits for lines that go to the spool waits until the spool puts its buffer back, and for the
// workers of the other groups.
func TestSpoolReleasesWatchingReceipts(t *testing.T) {
	for _, always := range []bool{false, true} {
		buffers := linebuf.NewPool(1 << 20)
		spool := newHeldSpool(buffers)
		f := NewKept(buffers, []Options{{Name: "main", Required: true, Queue: 1}, {Name: "late", Required: true, Queue: 1},
			{Name: "extra", Budget: 1 << 20, Queue: 9}}, Kept{Spool: spool, Always: always}, slog.New(slog.DiscardHandler))
		w := &issued{}
		w.InitWatching(w)
		b := buffers.MustGet(512)
		b.B, b.Lines = append(b.B, "line\n"...), 1
		b.Watch(&w.Receipt, 0b011)
		late := linebuf.Groups(0b010)
		views := f.shareKept(b, late, nil)
		if views[1] != nil || len(views[0].Watching(nil)) == 1 == always || views[0].Kept() != always {
			t.Errorf("always %v: the view of the first group watches with %d receipts", always, len(views[0].Watching(nil)))
		}
		if w.released != [Max]int{} {
			t.Errorf("always %v: released %v before anything was written or confirmed", always, w.released)
		}
		buffers.Put(spool.written)
		if want := (issued{released: [Max]int{1: 1}}); !always && w.released != want.released {
			t.Errorf("after the sync, %v is released", w.released)
		}
		if want := (issued{released: [Max]int{1, 1}}); always && w.released != want.released {
			t.Errorf("always: after the sync, %v is released", w.released)
		}
		buffers.Put(views[0])
		buffers.Put(views[2])
		if want := (issued{released: [Max]int{1, 1}}); w.released != want.released || buffers.InUse() != 0 {
			t.Errorf("always %v: at the end %v is released, %d bytes in use", always, w.released, buffers.InUse())
		}
	}
}

// heldSpool keeps the buffer that was written to it last.
type heldSpool struct {
	*memorySpool
	written *linebuf.Buffer
}

func newHeldSpool(buffers *linebuf.Pool) *heldSpool {
	return &heldSpool{memorySpool: newMemorySpool(buffers, 9)}
}

func (s *heldSpool) Write(_ *linebuf.Receipt, b *linebuf.Buffer) { s.written = b }
