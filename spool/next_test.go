package spool

import (
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// Senders held all memory, and waited for room in a full spool. Next waited for memory, so that no
// line was ever delivered, and no room was made.
func TestNextWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := linebuf.NewPool(64 * kib)
		r := start(t, t.TempDir(), func(o *Options) { o.Buffers = pool })
		r.pool = pool
		r.append(fill(0), 1, 1)
		r.synced()
		senders := pool.MustGet(64 * kib)
		began := time.Now()
		b := r.next1(t)
		if took := time.Since(began); string(b.B) != fill(0) || took == 0 || took > time.Second {
			t.Errorf("got %d bytes after %v", len(b.B), took)
		}
		pool.Put(b)
		pool.Put(senders)
		r.stop()
	})
}

// Next does not look at the segments before the first one that has lines for its group, of which a
// large spool has thousands. It looks at them again when lines come back to one of them.
func TestNextBeginsWhereLinesWait(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Segment, o.Groups = minSegment, []string{"a", "b"} })
	receipt := r.append("postponed\n", 3, 2)
	for i := range 200 {
		r.append(fill(i), 3, 3)
	}
	r.synced()
	for r.behind(0) { // b keeps all of the segments
		r.pool.Put(r.next(0))
	}
	from := func(group int) (behind, all int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.behindLocked(group)), len(r.segments)
	}
	if n, all := from(0); n > 1 || all < 10 {
		t.Errorf("looks at %d of %d segments", n, all)
	}
	r.Postpone(receipt, 1)
	if n, all := from(0); n != all {
		t.Errorf("looks at %d of %d segments once lines are postponed", n, all)
	}
	b := r.next(0)
	if string(b.B) != "postponed\n" {
		t.Errorf("got %.20q", b.B)
	}
	r.pool.Put(b)
}
