package spool

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Every kind of operation fails, at once or later, once or until the disk is repaired: nothing
// hangs, every line that was appended arrives, and the figures tell that there was a fault.
func TestSpoolWithADiskThatFails(t *testing.T) {
	for _, op := range []string{opList, opCreate, opOpen, opRemove, opSyncDir, opRead, opWrite, opSync, opAllocate} {
		for i, after := range []int{0, 1, 2, 3, 9, 30} {
			for _, times := range []int{1, -1} {
				err := []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT}[i%4]
				one := fault{op: op, after: after, times: times, err: err, part: 100 * i}
				t.Run(fmt.Sprintf("%s/%d/%d", op, after, times), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { failAndHeal(t, one) })
				})
			}
		}
	}
}

// failAndHeal uses a spool whose disk has a fault, repairs the disk, and looks for all lines.
func failAndHeal(t *testing.T, one fault) {
	w := newWorld(t, uint64(one.after))
	disk := newFaultyFS(w.disk.boot())
	w.boot = func() FS {
		disk.FS = w.disk.boot()
		return disk
	}
	w.faulty = true
	w.start()
	for range 20 {
		w.step()
	}
	w.end() // so that there are segments of an earlier run

	disk.faults = []*fault{&one}
	if one.op == opRead || one.op == opOpen { // also of headers and of confirmations
		w.expectDamage()
	}
	for err := w.tryStart(); err != nil; err = w.tryStart() {
		if !strings.Contains(err.Error(), w.options.Dir) || !errors.Is(err, one.err) {
			t.Errorf("Open: %v", err)
		}
		disk.heal()
	}
	for range 200 {
		w.step()
	}
	failed := disk.failed()
	stats := w.spool.Stats()
	counted := one.op != opList && one.op != opOpen && one.op != opRead // which Open may meet, or a second attempt mends
	if failed > 0 && counted && (stats.Faults == 0 || !strings.Contains(stats.LastFault, one.err.Error())) {
		t.Errorf("%d operations failed; Stats has %d faults, the last of them %q", failed, stats.Faults, stats.LastFault)
	}
	disk.heal()
	w.faulty = false
	time.Sleep(time.Minute) // longer than attempts are apart
	w.settle()
	missing := w.drain()
	if one.op == opSync { // confirmations whose sync failed may be lost
		w.expectRepeats()
	}
	w.powerLoss() // what was settled is safe
	w.start()
	missing = append(missing, w.drain()...)
	w.end()
	if one.op == opRead {
		missing = w.notInQuarantine(missing)
	}
	if len(missing) > 0 {
		t.Errorf("%d lines have not come, the first of them %d", len(missing), missing[0].number)
	}
}

// needAll reads all that waits, and complains of lines that have not come.
func (w *world) needAll() {
	w.t.Helper()
	if missing := w.drain(); len(missing) > 0 {
		w.t.Errorf("%d lines have not come, the first of them %d; %+v", len(missing), missing[0].number, w.spool.Stats())
	}
}

// While a full disk takes nothing, Append says so, and what is there is still delivered. Once lines
// are confirmed there is room again.
func TestSpoolOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.faulty = true
		w.disk.capacity = 5 * minSegment / 2 // two segments, of the thirty that Size allows
		w.start()
		refused := 0
		for range 400 {
			before := len(w.lines)
			if w.append(); len(w.lines) == before {
				refused++
			}
			time.Sleep(10 * time.Millisecond)
		}
		stats := w.spool.Stats()
		if refused == 0 || stats.Faults == 0 || !strings.Contains(stats.LastFault, syscall.ENOSPC.Error()) {
			t.Errorf("%d refused, %d faults, the last of them %q", refused, stats.Faults, stats.LastFault)
		}
		w.needAll()
		for len(w.held) > 0 {
			w.confirm()
		}
		w.settle()
		before := len(w.lines)
		for range 50 {
			w.append()
		}
		if len(w.lines) == before {
			t.Errorf("nothing can be appended, though all is confirmed: %+v", w.spool.Stats())
		}
		w.settle()
		w.needAll()
		w.end()
	})
}

// Bytes that change on the disk, in segments and in confirmations, cost the lines of their frames
// at most. Those are counted, and kept in quarantine, where they can be exported from.
func TestSpoolOnADiskThatLies(t *testing.T) {
	for seed := range uint64(*crashSeeds) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			w.start()
			for range 100 {
				w.step()
			}
			w.settle()
			w.end()
			damaged := w.damage(1 + w.rand.IntN(5))
			w.start()
			missing := w.drain()
			stats := w.spool.Stats()
			w.end()
			spoiled := w.notInQuarantine(missing)
			if len(spoiled) > damaged || len(missing) > 0 && stats.Faults == 0 {
				t.Errorf("%d bytes were damaged; %d lines are missing, %d of them in quarantine too; %+v",
					damaged, len(missing), len(spoiled), stats)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// damage changes up to n bytes of the files of the spool, and returns the number.
func (w *world) damage(n int) (damaged int) {
	for range n {
		files := w.disk.files("")
		name := files[w.rand.IntN(len(files))]
		if size := len(w.disk.live[name].live); size > 0 {
			w.disk.damage(name, w.rand.IntN(size))
			damaged++
		}
	}
	w.expectDamage()
	return damaged
}

// expectDamage notes that segments with a damaged header are delivered as a whole, to all groups.
func (w *world) expectDamage() {
	w.anyGroup = true
	w.expectRepeats()
}

// expectRepeats notes that confirmations may be lost.
func (w *world) expectRepeats() {
	for _, l := range w.lines {
		for g := range l.groups {
			if l.groups[g].over != no {
				l.groups[g].over = maybe
			}
		}
	}
}

// notInQuarantine returns those of some lines that an export of the quarantine does not have.
func (w *world) notInQuarantine(lines []*line) (missing []*line) {
	w.t.Helper()
	var kept strings.Builder
	if _, err := export(w.t.Context(), w.disk.boot(), w.options.Dir, ExportOptions{Quarantined: true}, &kept); err != nil {
		w.t.Error(err)
	}
	for _, l := range lines {
		if !strings.Contains(kept.String(), l.text) {
			missing = append(missing, l)
		}
	}
	return missing
}
