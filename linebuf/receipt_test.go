package linebuf

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// frame is an issuer's record of some lines.
type frame struct {
	Receipt
	released [MaxGroups]atomic.Int32
	told     func()
}

func newFrame() *frame {
	f := &frame{}
	f.Init(f)
	return f
}

func (f *frame) Released(r *Receipt, group int) {
	if r != &f.Receipt {
		panic("another receipt was released")
	}
	f.released[group].Add(1)
	if f.told != nil {
		f.told()
	}
}

// forest is any number of buffers, shared, copied and merged at random, and what has to come of
// their receipts, kept in the simplest form.
type forest struct {
	t      *testing.T
	rng    *rand.Rand
	pool   *Pool
	frames []*frame
	live   []*Buffer
	holds  map[*Buffer][]hold
	lost   []hold // forsaken, and not attached since
	want   map[hold]int32
}

// hold is a receipt for one group.
type hold struct {
	f     *frame
	group int
}

func newForest(t *testing.T, seed uint64) *forest {
	return &forest{t: t, rng: rand.New(rand.NewPCG(seed, 1)), pool: NewPool(0), holds: map[*Buffer][]hold{},
		want: map[hold]int32{}}
}

// any returns a live buffer, nil if there is none.
func (f *forest) any() *Buffer {
	if len(f.live) == 0 {
		return nil
	}
	return f.live[f.rng.IntN(len(f.live))]
}

func (f *forest) add(b *Buffer, holds []hold) {
	f.live, f.holds[b] = append(f.live, b), holds
}

// remove takes a buffer out and returns what it held.
func (f *forest) remove(b *Buffer) []hold {
	i := slices.Index(f.live, b)
	f.live = slices.Delete(f.live, i, i+1)
	holds := f.holds[b]
	delete(f.holds, b)
	return holds
}

// gone notes holds that are given up. Those that no buffer has any more are to be released.
func (f *forest) gone(holds []hold) {
	for _, h := range holds {
		left := slices.Contains(f.lost, h) || f.want[h] > 0
		for _, all := range f.holds {
			left = left || slices.Contains(all, h)
		}
		if !left {
			f.want[h]++
		}
	}
}

// issue makes a buffer whose lines have a receipt, or perhaps none.
func (f *forest) issue() {
	b := f.pool.MustGet(1 + f.rng.IntN(2000))
	var holds []hold
	if f.rng.IntN(4) > 0 {
		r := newFrame()
		f.frames = append(f.frames, r)
		groups := Groups(f.rng.IntN(16))
		b.Attach(&r.Receipt, groups)
		for g := range MaxGroups {
			if groups&(1<<g) != 0 {
				holds = append(holds, hold{r, g})
			}
		}
	}
	f.add(b, holds)
}

func (f *forest) share(b *Buffer) {
	if b.base != nil {
		return
	}
	holds := f.remove(b)
	views := f.pool.Share(b, accounts(1+f.rng.IntN(5)), nil)
	of := make([][]hold, len(views))
	var others []hold
	for _, h := range holds {
		if h.group < len(views) {
			of[h.group] = append(of[h.group], h)
		} else {
			others = append(others, h)
		}
	}
	for i, v := range views {
		f.add(v, of[i])
	}
	f.gone(others)
}

func (f *forest) copy(b *Buffer) {
	c := f.pool.TryGetLike(b, f.rng.IntN(2000))
	f.add(c, slices.Clone(f.holds[b]))
}

// merge moves the lines of a buffer to another, as windows do, or copies them there, as lanes do.
func (f *forest) merge(to, from *Buffer) {
	if to == from {
		return
	}
	if f.rng.IntN(2) == 0 {
		f.holds[to] = slices.Concat(f.holds[to], f.holds[from])
		to.HoldLike(from)
		return
	}
	to.Inherit(from)
	f.holds[to] = slices.Concat(f.holds[to], f.remove(from))
	f.pool.Put(from)
}

func (f *forest) put(b *Buffer) {
	holds := f.remove(b)
	f.pool.Put(b)
	f.gone(holds)
}

func (f *forest) forsake(b *Buffer) {
	for _, h := range f.remove(b) {
		if !slices.Contains(f.lost, h) {
			f.lost = append(f.lost, h)
		}
	}
	b.Forsake()
	f.pool.Put(b)
}

// again makes the issuer give out lines that were forsaken, those that were so first.
func (f *forest) again() {
	h := f.lost[0]
	f.lost = f.lost[1:]
	b := f.pool.MustGet(10)
	b.Attach(&h.f.Receipt, 1<<h.group)
	f.add(b, []hold{h})
}

func (f *forest) step() {
	b := f.any()
	if b == nil {
		f.issue()
		return
	}
	switch f.rng.IntN(9) {
	case 0, 1:
		f.issue()
	case 2:
		f.share(b)
	case 3:
		f.copy(b)
	case 4:
		f.merge(b, f.any())
	case 5, 6, 7:
		f.put(b)
	case 8:
		if f.rng.IntN(4) == 0 {
			f.forsake(b)
		}
	}
	if len(f.lost) > 0 && f.rng.IntN(20) == 0 {
		f.again()
	}
}

func (f *forest) check() {
	for _, r := range f.frames {
		for g := range MaxGroups {
			if got, want := r.released[g].Load(), f.want[hold{r, g}]; got != want {
				f.t.Fatalf("a receipt was released %d times for group %d, want %d", got, g, want)
			}
		}
	}
	for _, b := range f.live {
		if b.Kept() != (len(f.holds[b]) > 0) {
			f.t.Fatalf("a buffer holds receipts: %v; it is to have %d", b.Kept(), len(f.holds[b]))
		}
	}
}

// However buffers are shared, copied, merged and given back, each receipt is released for each of
// its groups once, when the last buffer that holds it is given back, and not at all if a buffer has
// forsaken it.
func TestReceiptsAreReleasedOnce(t *testing.T) {
	for seed := range uint64(200) {
		f := newForest(t, seed)
		for range 60 {
			f.step()
			f.check()
		}
		for len(f.lost) > 0 {
			f.again()
		}
		for len(f.live) > 0 {
			f.put(f.any())
			f.check()
		}
		for h, n := range f.want {
			if n != 1 {
				t.Fatalf("a receipt is to be released %d times for group %d", n, h.group)
			}
		}
		if n := f.pool.InUse(); n != 0 {
			t.Fatalf("%d bytes in use", n)
		}
	}
}

// Groups give back their views and copies of them at the same time.
func TestReceiptsConcurrently(t *testing.T) {
	const groups, frames = 3, 2000
	p, all := NewPool(0), accounts(groups)
	issued := make([]*frame, frames)
	queues := make([]chan *Buffer, groups)
	var receivers sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan *Buffer, 8)
		for n := range 2 {
			receivers.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				var kept []*Buffer
				for v := range queues[i] {
					if c := p.MustGetLike(v, 10); rng.IntN(2) == 0 {
						p.Put(c)
					} else {
						c.Inherit(v)
						kept = append(kept, c)
					}
					p.Put(v)
				}
				for _, c := range kept {
					p.Put(c)
				}
			})
		}
	}
	for n := range issued {
		issued[n] = newFrame()
		b := p.MustGet(10)
		b.Attach(&issued[n].Receipt, 1<<groups-1)
		for i, v := range p.Share(b, all, nil) {
			queues[i] <- v
		}
	}
	for _, q := range queues {
		close(q)
	}
	receivers.Wait()
	for n, f := range issued {
		for g := range groups {
			if times := f.released[g].Load(); times != 1 {
				t.Fatalf("receipt %d was released %d times for group %d", n, times, g)
			}
		}
	}
}

// The issuer may take memory, or give it back.
func TestReleasedHoldsNoLock(t *testing.T) {
	p := NewPool(0)
	f := newFrame()
	f.told = func() { p.Put(p.MustGet(10)) }
	b := p.MustGet(10)
	b.Attach(&f.Receipt, 0b111)
	for _, v := range p.Share(b, accounts(2), nil) { // the third group has no view
		p.Put(v)
	}
	for g := range 3 {
		if n := f.released[g].Load(); n != 1 {
			t.Errorf("released %d times for group %d", n, g)
		}
	}
}

// A group that has given up some lines of a receipt must not release it when the others are
// confirmed, even if it gave them up in the middle.
func TestForsakenReceiptIsNotReleased(t *testing.T) {
	p := NewPool(0)
	f := newFrame()
	b := p.MustGet(10)
	b.Attach(&f.Receipt, 0b11)
	before, after := p.MustGetLike(b, 10), p.MustGetLike(b, 10)
	p.Put(before)
	b.Forsake()
	if b.Kept() {
		t.Error("it still holds a receipt")
	}
	p.Put(b)
	p.Put(after)
	if n := f.released[0].Load() + f.released[1].Load(); n != 0 {
		t.Errorf("released %d times", n)
	}
	again := p.MustGet(10)
	again.Attach(&f.Receipt, 0b10)
	p.Put(again)
	if one, two := f.released[0].Load(), f.released[1].Load(); one != 0 || two != 1 {
		t.Errorf("released %d and %d times; the second group has got the lines again", one, two)
	}
}

// A receipt is used again for other lines.
func TestInitMakesAReceiptNew(t *testing.T) {
	p := NewPool(0)
	f := newFrame()
	for n := range int32(3) {
		b := p.MustGet(10)
		b.Attach(&f.Receipt, 1)
		p.Put(b)
		if got := f.released[0].Load(); got != n+1 {
			t.Errorf("released %d times, want %d", got, n+1)
		}
		b = p.MustGet(10)
		b.Attach(&f.Receipt, 1)
		b.Forsake()
		p.Put(b)
		f.Init(f)
	}
}

func TestMayInherit(t *testing.T) {
	p := NewPool(0)
	plain, with := p.MustGet(512), p.MustGet(512)
	with.Attach(&newFrame().Receipt, 1)
	if plain.MayInherit(with) || with.MayInherit(plain) || !plain.MayInherit(p.MustGet(10)) {
		t.Error("lines with a receipt mix with lines without one")
	}
	n := 1
	for ; n < 100; n++ {
		from := p.MustGet(512)
		from.Attach(&newFrame().Receipt, 1)
		if !with.MayInherit(from) {
			break
		}
		with.Inherit(from)
	}
	if n != 512/bytesPerReceipt {
		t.Errorf("a buffer of 512 bytes has got %d receipts", n)
	}
}

func TestReceiptsDoNotAllocate(t *testing.T) {
	p := NewPool(1 << 20)
	all := accounts(2)
	f := newFrame()
	allocs := testing.AllocsPerRun(100, func() {
		var array [2]*Buffer
		b := p.MustGet(100)
		b.Attach(&f.Receipt, 0b11)
		for _, v := range p.Share(b, all, array[:0]) {
			c := p.MustGetLike(v, 100)
			c.Inherit(v)
			p.Put(v)
			p.Put(c)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
