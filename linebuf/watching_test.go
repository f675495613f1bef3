package linebuf

import "testing"

func newWatch() *frame {
	f := &frame{}
	f.InitWatching(f)
	return f
}

// A watching receipt goes the way of the lines, and does not make a buffer one that its issuer has.
func TestWatchingReceipt(t *testing.T) {
	p, w := NewPool(0), newWatch()
	const groups = 0b11
	var all []*Buffer
	for range 3 {
		b := p.MustGet(512)
		b.B, b.Lines = append(b.B, "line\n"...), 1
		b.Watch(&w.Receipt, groups)
		all = append(all, b)
	}
	if all[0].Kept() || len(all[0].Watching(nil)) != 1 {
		t.Errorf("kept: %v, watching: %d", all[0].Kept(), len(all[0].Watching(nil)))
	}
	views := p.Share(all[0], accounts(3), nil)
	if n := len(views[2].Watching(nil)); n != 0 {
		t.Errorf("a group that does not count has %d receipts", n)
	}
	own := p.MustGetLike(views[0], 512)
	for _, b := range []*Buffer{views[0], views[2], own, all[1]} {
		p.Put(b)
	}
	if w.released[0].Load()+w.released[1].Load() != 0 {
		t.Error("released with a buffer left")
	}
	p.Put(all[2])
	if w.released[0].Load() != 1 || w.released[1].Load() != 0 {
		t.Errorf("released %d and %d times", w.released[0].Load(), w.released[1].Load())
	}
	p.Put(views[1])
	if w.released[1].Load() != 1 || w.Lost() != 0 {
		t.Errorf("released %d times, %d lines lost", w.released[1].Load(), w.Lost())
	}
}

// Lines with a watching receipt mix with lines without one, but not with lines that an issuer has.
func TestWatchedLinesMix(t *testing.T) {
	p, w, k := NewPool(0), newWatch(), newFrame()
	plain, watched, kept := p.MustGet(512), p.MustGet(512), p.MustGet(512)
	watched.Watch(&w.Receipt, 1)
	kept.Attach(&k.Receipt, 1)
	for _, tc := range []struct {
		a, b *Buffer
		want bool
	}{{plain, watched, true}, {watched, plain, true}, {watched, kept, false}, {kept, watched, false}, {plain, kept, false}} {
		if got := tc.a.MayInherit(tc.b); got != tc.want {
			t.Errorf("got %v, want %v", got, tc.want)
		}
	}
	plain.Inherit(watched)
	p.Put(watched)
	if w.released[0].Load() != 0 {
		t.Error("released too early")
	}
	plain.Lose(2)
	p.Put(plain)
	if w.released[0].Load() != 1 || w.Lost() != 2 {
		t.Errorf("released %d times, %d lines lost", w.released[0].Load(), w.Lost())
	}
	p.Put(kept)
}

// At a shutdown only issuers that have the lines get them back, and the others are not told that
// lines are done which are lost.
func TestForsakenWatch(t *testing.T) {
	p, w, k := NewPool(0), newWatch(), newFrame()
	b := p.MustGet(512)
	b.Watch(&w.Receipt, 1)
	b.Attach(&k.Receipt, 1)
	n := 0
	b.Return(func(r *Receipt, _ Groups) {
		if n++; r != &k.Receipt {
			t.Error("a watching receipt was returned")
		}
	})
	p.Put(b)
	if n != 1 || w.released[0].Load() != 0 {
		t.Errorf("returned %d, released %d times", n, w.released[0].Load())
	}
}

// A buffer that gets lines of the same request again and again holds one receipt.
func TestOneHoldIsEnough(t *testing.T) {
	p, w := NewPool(0), newWatch()
	to := p.MustGet(512)
	for range 100 {
		from := p.MustGet(512)
		from.Watch(&w.Receipt, 1)
		to.HoldLike(from)
		to.TakeReceipts(from)
		p.Put(from)
	}
	if n := len(to.Watching(nil)); n != 1 || w.released[0].Load() != 0 {
		t.Errorf("%d receipts, released %d times", n, w.released[0].Load())
	}
	to.Lose(1)
	p.Put(to)
	if w.released[0].Load() != 1 || w.Lost() != 1 {
		t.Errorf("released %d times, %d lines lost", w.released[0].Load(), w.Lost())
	}
}
