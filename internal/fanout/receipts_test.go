package fanout

import (
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
