package linebuf

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassSize(t *testing.T) {
	for _, tc := range []struct{ size, want int }{
		{0, 512}, {1, 512}, {511, 512}, {512, 512}, {513, 1024}, {1024, 1024}, {1025, 2048},
		{16 << 10, 16 << 10}, {16<<10 + 1, 32 << 10}, {1 << 20, 1 << 20}, {1<<20 + 1, 2 << 20},
	} {
		if got := ClassSize(tc.size); got != tc.want {
			t.Errorf("ClassSize(%d) = %d, want %d", tc.size, got, tc.want)
		}
		p := NewPool(0)
		b := p.MustGet(tc.size)
		if len(b.B) != 0 || cap(b.B) != tc.want || p.InUse() != int64(tc.want) {
			t.Errorf("MustGet(%d): len %d, cap %d, in use %d", tc.size, len(b.B), cap(b.B), p.InUse())
		}
	}
}

func TestNewestBufferIsUsedFirst(t *testing.T) {
	p := NewPool(1 << 20)
	a, b := p.MustGet(512), p.MustGet(512)
	p.Put(a)
	p.Put(b)
	if got := p.TryGet(1); got != b {
		t.Error("the newest buffer is not the first to be used again")
	}
	if got := p.TryGet(512); got != a {
		t.Error("the older buffer was not used again")
	}
}

func TestPutRestoresTheBuffer(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.MustGet(1024)
	b.B = append(b.B, "some line\n"...)[5:]
	b.Lines = 1
	p.Put(b)
	if got := p.TryGet(1024); got != b || len(got.B) != 0 || cap(got.B) != 1024 || got.Lines != 0 {
		t.Errorf("got len %d, cap %d, lines %d", len(got.B), cap(got.B), got.Lines)
	}
	p.Put(nil)
}

func TestSecondPutPanics(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.MustGet(512)
	p.Put(b)
	defer func() {
		if recover() == nil {
			t.Error("the second Put did not panic")
		}
	}()
	p.Put(b)
}

func TestBudgetLimitsAllButMustGet(t *testing.T) {
	p := NewPool(2048)
	a, b := p.TryGet(1024), p.TryGet(1024)
	if a == nil || b == nil {
		t.Fatal("no room within the budget")
	}
	if p.TryGet(1) != nil {
		t.Error("room beyond the budget")
	}
	c := p.MustGet(512)
	if got := p.InUse(); got != 2560 {
		t.Errorf("in use %d", got)
	}
	for _, b := range []*Buffer{a, b, c} {
		p.Put(b)
	}
	if got := p.InUse(); got != 0 {
		t.Errorf("in use %d after all was put back", got)
	}
	if b := p.TryGet(1 << 20); b == nil {
		t.Error("a buffer above the whole budget was refused with nothing in use")
	}
}

// Buffers in use and free buffers share the budget: free buffers of one class must not be kept when
// buffers of another class need the memory.
func TestFreeBuffersStayWithinTheBudget(t *testing.T) {
	p := NewPool(8 << 10)
	for size := 512; size <= 8<<10; size *= 2 {
		var all []*Buffer
		for b := p.TryGet(size); b != nil; b = p.TryGet(size) {
			all = append(all, b)
			if p.inUse+p.memory.free > p.memory.limit {
				t.Fatalf("in use %d and free %d exceed %d", p.inUse, p.memory.free, p.limit)
			}
		}
		if want := 8 << 10 / size; len(all) != want {
			t.Errorf("%d buffers of %d, want %d", len(all), size, want)
		}
		for _, b := range all {
			p.Put(b)
		}
	}
	big := NewPool(1 << 30)
	var all []*Buffer
	for range 40 {
		all = append(all, big.MustGet(1<<20))
	}
	for _, b := range all {
		big.Put(b)
	}
	if big.memory.free != maxFree {
		t.Errorf("%d bytes are kept, want %d", big.memory.free, maxFree)
	}
}

func TestGetServesWaitersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1024)
		held := p.MustGet(1024)
		var order []int
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				b, err := p.Get(t.Context(), 1024)
				if err != nil {
					t.Error(err)
				}
				order = append(order, i)
				time.Sleep(time.Second)
				p.Put(b)
			})
			synctest.Wait()
		}
		if p.TryGet(1) != nil {
			t.Error("TryGet overtook the waiters")
		}
		p.Put(held)
		wg.Wait()
		if !slices.Equal(order, []int{0, 1, 2}) {
			t.Errorf("served in the order %v", order)
		}
		if p.InUse() != 0 {
			t.Errorf("in use %d", p.InUse())
		}
	})
}

// A waiter that gives up lets the waiters behind it pass.
func TestGivingUpLetsLaterWaitersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1024)
		held := p.MustGet(512)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if b, err := p.Get(ctx, 1024); b != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, %v", b, err)
			}
		})
		synctest.Wait()
		passed := false
		wg.Go(func() {
			b, err := p.Get(t.Context(), 512)
			if err != nil {
				t.Error(err)
			}
			passed = true
			p.Put(b)
		})
		synctest.Wait()
		if passed {
			t.Error("the second overtook the first")
		}
		cancel()
		synctest.Wait()
		if !passed {
			t.Error("the second still waits")
		}
		wg.Wait()
		p.Put(held)
		if _, err := p.Get(ctx, 512); !errors.Is(err, context.Canceled) {
			t.Errorf("with its context ended, Get returned %v", err)
		}
	})
}

// With many owners, few bytes and contexts that end at any time, no wake-up may be lost and nothing
// may be miscounted.
func TestPoolUnderPressure(t *testing.T) {
	p := NewPool(16 << 10)
	var wg sync.WaitGroup
	for seed := range uint64(16) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(4) == 0 {
					go cancel()
				}
				b, err := p.Get(ctx, 1+rnd.IntN(16<<10))
				if err == nil {
					b.B = append(b.B, byte(seed))
					if p.InUse() > p.Limit() {
						t.Error("over the budget")
					}
					if b.B[0] != byte(seed) {
						t.Error("two owners of one buffer")
					}
					p.Put(b)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if p.InUse() != 0 || p.nWaiters != 0 || p.memory.free > p.limit {
		t.Errorf("in use %d, waiting %d, free %d", p.InUse(), p.nWaiters, p.memory.free)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	p := NewPool(1 << 20)
	sizes := []int{512, 600, 16 << 10, 128 << 10}
	cycle := func() {
		for _, size := range sizes {
			b, _ := p.Get(t.Context(), size)
			c := p.TryGet(size)
			p.Put(b)
			p.Put(c)
		}
	}
	cycle()
	if n := testing.AllocsPerRun(100, cycle); n != 0 {
		t.Errorf("%v allocations per cycle", n)
	}
}

func BenchmarkGetPut(b *testing.B) {
	p := NewPool(1 << 20)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		buf, _ := p.Get(ctx, 16<<10)
		p.Put(buf)
	}
}
