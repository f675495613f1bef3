package lane

import (
	"fmt"
	"slices"
	"testing"
)

// A key moves only once its lane has seen all confirmed that it was given, and the lines that come
// meanwhile follow it.
func TestKeyMovesBehindItsLastLine(t *testing.T) {
	b := newBench(t, 1<<20, 2, 1)
	s := b.source(false)
	gone := b.homes[0].Lanes[0]
	key := ""
	for i := 0; key == ""; i++ {
		if k := fmt.Sprint("k", i); b.laneOf(k) == gone {
			key = k
		}
	}
	s.Offer(b.buffer(key+" 1", key+" 2"))
	b.routes.Assign(b.homes[1:])
	s.Offer(b.buffer(key + " 3"))
	left := b.homes[1].Lanes[0]
	if b.routes.Settle() || !left.Empty() {
		t.Fatal("the key has moved before its last line")
	}
	if share, waiting := b.routes.Moving(); share < 0.4 || share > 0.6 || waiting.Lines != 1 {
		t.Errorf("%v of all keys are moving, %+v wait", share, waiting)
	}
	if b.routes.Forget(gone) || b.routes.Finished(left) {
		t.Error("a lane was given up that a slot is on the way from, or to")
	}
	if got := b.drain(gone, false); len(got) != 2 {
		t.Errorf("the old lane has %q", got)
	}
	gone.Confirmed().Add(1)
	if b.routes.Settle() {
		t.Fatal("the key has moved before its last line was confirmed")
	}
	gone.Confirmed().Add(1)
	if !b.routes.Settle() {
		t.Fatal("the key has not moved")
	}
	s.Offer(b.buffer(key + " 4"))
	if got := b.drain(left, true); !slices.Equal(got, []string{key + " 3", key + " 4"}) {
		t.Errorf("the new lane has %q", got)
	}
	if !b.routes.Forget(gone) || b.routes.Forget(left) {
		t.Error("the old lane was kept, or the new one was not")
	}
	b.wantNothingHeld()
}

// A target that is listed again while its keys are leaving gets them back behind their lines.
func TestKeyMovesBack(t *testing.T) {
	b := newBench(t, 1<<20, 2, 1)
	s := b.source(false)
	first, second := b.homes[0].Lanes[0], b.homes[1].Lanes[0]
	key := "k"
	for b.laneOf(key) != first {
		key += "k"
	}
	s.Offer(b.buffer(key + " 1"))
	b.routes.Assign(b.homes[1:])
	s.Offer(b.buffer(key + " 2"))
	b.routes.Assign(b.homes)
	s.Offer(b.buffer(key + " 3"))
	b.drain(first, true)
	if b.routes.Settle() {
		t.Fatal("the key went back before its lines on the way")
	}
	s.Offer(b.buffer(key + " 4"))
	if got := b.drain(second, true); !slices.Equal(got, []string{key + " 2", key + " 3"}) {
		t.Errorf("on the way: %q", got)
	}
	b.routes.Settle()
	if got := b.drain(first, true); !slices.Equal(got, []string{key + " 4"}) {
		t.Errorf("back: %q", got)
	}
	b.wantNothingHeld()
}

// After the end, keys on the way arrive, and no others set out.
func TestEndLetsKeysArrive(t *testing.T) {
	b := newBench(t, 1<<20, 2, 1)
	s := b.source(false)
	first, second := b.homes[0].Lanes[0], b.homes[1].Lanes[0]
	key := "k"
	for b.laneOf(key) != first {
		key += "k"
	}
	s.Offer(b.buffer(key + " 1"))
	b.routes.Assign(b.homes[1:])
	s.Offer(b.buffer(key + " 2"))
	b.routes.End()
	if b.routes.Finished(second) {
		t.Error("a lane is finished with lines on the way to it")
	}
	b.routes.Assign(b.homes[:1])
	b.drain(first, true)
	if !b.routes.Settle() || b.routes.Finished(second) {
		t.Error("the lines have not arrived")
	}
	if got := b.drain(second, true); len(got) != 1 || !b.routes.Finished(second) || !b.routes.Finished(first) {
		t.Errorf("got %q", got)
	}
}

// Of five targets, one that goes moves a fifth of the keys, and they come back to it.
func TestFifthOfKeysMoves(t *testing.T) {
	b := newBench(t, 1<<20, 5, 4)
	before := b.routes.table
	b.routes.Assign(b.homes[:4])
	without := b.routes.table
	moved := 0
	for slot := range before {
		if before[slot] != without[slot] {
			moved++
		}
	}
	if share := float64(moved) / numSlots; share < 0.19 || share > 0.21 {
		t.Errorf("%v of the keys have moved, want a fifth", share)
	}
	b.routes.Assign(b.homes)
	if b.routes.table != before {
		t.Error("keys have not come back")
	}
}
