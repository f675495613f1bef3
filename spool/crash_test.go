package spool

import (
	"flag"
	"testing"
	"testing/synctest"
	"time"
)

var crashSeeds = flag.Int("spool.seeds", 60, "random histories of a spool and its disk")

// Senders, workers and power losses come in a random order. No synced line is lost, no line with a
// synced confirmation comes again, no line is torn, and damaged lines are counted.
func TestSpoolSurvivesPowerLoss(t *testing.T) {
	for seed := range uint64(*crashSeeds) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			for range 2 + w.rand.IntN(3) {
				w.round()
			}
			w.lastRound()
		})
		if t.Failed() {
			t.Fatalf("seed %d: repeat it by -run TestSpoolSurvivesPowerLoss -spool.seeds %d", seed, seed+1)
		}
	}
}

// round is a run of the spool: it is started, used and ended in some way.
func (w *world) round() {
	w.t.Helper()
	w.startAndCompare(w.rand.IntN(2) == 0)
	for range w.rand.IntN(120) {
		w.step()
	}
	switch w.rand.IntN(4) {
	case 0:
		w.kill()
	case 1:
		w.end()
	default:
		w.powerLoss()
	}
}

// startAndCompare starts the spool. If drain is set, it reads all that waits, and compares it with
// what has to come, and with what Verify says of the files.
func (w *world) startAndCompare(drain bool) {
	w.t.Helper()
	before := w.verify()
	w.start()
	if !drain {
		return
	}
	if missing := w.drain(); len(missing) > 0 {
		w.t.Errorf("%d lines that were synced have not come, the first of them %d", len(missing), missing[0].number)
	}
	stats := w.spool.Stats()
	if stats.QuarantinedFrames != before.DamagedFrames || stats.Quarantined != before.Damaged {
		w.t.Errorf("%d frames in quarantine, %v; Verify has found %d, %v",
			stats.QuarantinedFrames, stats.Quarantined, before.DamagedFrames, before.Damaged)
	}
	w.compareStats(stats)
}

// verify returns what Verify says of the files, none of which may be in use.
func (w *world) verify() *Report {
	w.t.Helper()
	if len(w.disk.files(segmentSuffix)) == 0 {
		return &Report{}
	}
	r, err := verify(w.t.Context(), w.disk.boot(), w.options.Dir, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// compareStats compares the figures of the spool with what the world knows. All that waited was
// read.
func (w *world) compareStats(s Stats) {
	w.t.Helper()
	for g := range worldGroups {
		want, _ := w.flying(g)
		if got := s.Groups[g]; got.InFlight != want || got.Waiting.Lines != 0 {
			w.t.Errorf("group %d: %v in flight and %v waiting; there are %v", g, got.InFlight, got.Waiting, want)
		}
	}
	if s.Unscanned != 0 {
		w.t.Errorf("%d bytes are not scanned", s.Unscanned)
	}
}

// lastRound reads everything, compares it with what Inspect says, and confirms it all. Then nothing
// is left.
func (w *world) lastRound() {
	w.t.Helper()
	w.startAndCompare(true)
	w.end()
	report := w.verify()
	for g, name := range w.options.Groups {
		got := report.group(name).Waiting
		if all, sure := w.flying(g); got.Lines < sure.Lines || got.Lines > all.Lines {
			w.t.Errorf("%v wait for group %s, Inspect says; there are at least %v, at most %v", got, name, sure, all)
		}
	}
	w.startAndCompare(true)
	for len(w.held) > 0 {
		w.confirm()
	}
	w.settle()
	stats := w.spool.Stats()
	if stats.Unconfirmed.Lines != 0 || !stats.Oldest.IsZero() {
		w.t.Errorf("all is confirmed, and the spool has %v, the oldest read at %v", stats.Unconfirmed, stats.Oldest)
	}
	w.end()
	if left := w.verify(); left.Unconfirmed.Lines != 0 {
		w.t.Errorf("all is confirmed, and the files have %v", left.Unconfirmed)
	}
	w.start()
	for g := range worldGroups {
		w.next(g)
	}
	w.end()
}

// step does one of the things that happen to a spool in use.
func (w *world) step() {
	w.t.Helper()
	switch n := w.rand.IntN(100); {
	case n < 45:
		w.append()
	case n < 65:
		w.confirm()
	case n < 72:
		w.postpone()
	case n < 80:
		w.next(w.rand.IntN(worldGroups))
	case n < 84:
		w.note()
	case n < 97:
		time.Sleep(time.Duration(w.rand.Int64N(int64(200 * time.Millisecond))))
	default:
		w.settle()
	}
}
