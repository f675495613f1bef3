package spool

import (
	"testing"

	"linesplit/linebuf"
)

// Next waited for the index of the oldest segment when that was dropped. It went on only once other
// lines were appended, though the index of the next segment was in memory.
func TestDropWakesNext(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Buffers, o.DropOldest = linebuf.NewPool(0), true
	s, err := Open(o)
	must(t, err)
	g := &segment{scanned: true}
	g.waiting[0].frames, g.left.frames = 1, 1
	s.segments = []*segment{{skipped: true}, g}
	s.left, s.groups[0].waiting = g.left, g.waiting[0]
	wake := make(chan struct{})
	s.groups[0].wake = wake
	k := keeper{Spool: s}
	if d := k.dropOldestLocked(); d.segment != g { // the other one cannot be opened, and is kept
		t.Fatalf("dropped %+v", d)
	}
	select {
	case <-wake:
	default:
		t.Error("Next goes on waiting")
	}
	must(t, s.Close())
}
