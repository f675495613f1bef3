package linebuf

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// take takes buffers of a size until there is no more room.
func take(p *Pool, size int) (all []*Buffer) {
	for b := p.TryGet(size); b != nil; b = p.TryGet(size) {
		all = append(all, b)
	}
	return all
}

// A pool that took everything starved the others: their senders waited for targets of another
// service.
func TestPoolsKeepTheirParts(t *testing.T) {
	m := NewMemory(64 << 10)
	a, b := m.NewPool(0), m.NewPool(0)
	if a.Limit() != 16<<10 || a.Bound() != 48<<10 {
		t.Errorf("limit %d, bound %d", a.Limit(), a.Bound())
	}
	if n := len(take(a, 1024)); n != 48 {
		t.Errorf("the first pool got %d KiB, want all but the other's part", n)
	}
	if n := len(take(b, 1024)); n != 16 || b.Bound() != 16<<10 {
		t.Errorf("the second pool got %d KiB, want its part; bound %d", n, b.Bound())
	}
}

func TestPoolWithALimitOfItsOwn(t *testing.T) {
	m := NewMemory(64 << 10)
	a, b := m.NewPool(8<<10), m.NewPool(0)
	if n := len(take(a, 1024)); n != 8 || a.Bound() != 8<<10 || a.Limit() != 8<<10 {
		t.Errorf("%d KiB, bound %d, limit %d", n, a.Bound(), a.Limit())
	}
	if n := len(take(b, 1024)); n != 56 {
		t.Errorf("the other pool got %d KiB, want the rest", n)
	}
}

// What one pool puts back goes to the waiters of another.
func TestWaitersOfAnotherPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(64 << 10)
		a, b := m.NewPool(0), m.NewPool(0)
		first := take(a, 16<<10) // three, with the shared half
		second := take(b, 16<<10)
		if len(first) != 3 || len(second) != 1 {
			t.Fatalf("%d and %d", len(first), len(second))
		}
		got := make(chan *Buffer)
		go func() { buffer, _ := b.Get(context.Background(), 16<<10); got <- buffer }()
		synctest.Wait()
		a.Put(first[0])
		b.Put(<-got)
	})
}

// A pool that comes makes the parts of the others smaller, and one that goes leaves its part to
// them.
func TestPoolsComeAndGo(t *testing.T) {
	m := NewMemory(64 << 10)
	a := m.NewPool(0)
	if n := len(take(a, 1024)); n != 64 || a.Limit() != 64<<10 {
		t.Fatalf("a single pool got %d KiB of 64, limit %d", n, a.Limit())
	}
	b := m.NewPool(0)
	if b.TryGet(1024) == nil || b.TryGet(1024) != nil {
		t.Error("a pool with nothing in use gets one buffer, and no more while the memory is used up")
	}
	a.Close()
	if n := len(take(b, 1024)); n != 63 || b.InUse() != m.used {
		t.Errorf("%d KiB more for the pool that is left", n)
	}
}

// However pools take and put back, the sums are right and the budget holds.
func TestMemoryAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := NewMemory(1 << 20)
	pools := []*Pool{m.NewPool(0), m.NewPool(0), m.NewPool(200 << 10)}
	held := make([][]*Buffer, len(pools))
	for range 20_000 {
		i := r.IntN(len(pools))
		if n := len(held[i]); n > 0 && r.IntN(2) == 0 {
			k := r.IntN(n)
			pools[i].Put(held[i][k])
			held[i] = append(held[i][:k], held[i][k+1:]...)
		} else if b := pools[i].TryGet(1 << r.IntN(18)); b != nil {
			held[i] = append(held[i], b)
		}
		var used, committed int64
		for _, p := range pools {
			used += p.inUse
			committed += max(p.inUse, p.reserved)
			if p.inUse > p.limit && len(held[i]) > 1 {
				t.Fatalf("%d of %d in use", p.inUse, p.limit)
			}
		}
		if used != m.used || committed != m.committed || used+m.free > m.limit {
			t.Fatalf("used %d, %d; committed %d, %d; free %d", used, m.used, committed, m.committed, m.free)
		}
	}
}
