package linebuf

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func accounts(n int) (all []*Account) {
	for range n {
		all = append(all, new(Account))
	}
	return all
}

func held(all []*Account) (sum int64) {
	for _, a := range all {
		sum += a.Held()
	}
	return sum
}

// The memory of a shared buffer goes back exactly once, with the last view, in whatever order the
// views are put back.
func TestSharedMemoryGoesBackOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := NewPool(1 << 20)
	for range 1000 {
		all := accounts(1 + rng.IntN(5))
		b := p.MustGet(1 + rng.IntN(2000))
		store := &b.store[0]
		b.B, b.Lines, b.Read = append(b.B, "one\ntwo\n"...), 2, time.Now()
		views := p.Share(b, all, nil)
		if held(all) != int64(len(all))*int64(len(b.store)) {
			t.Fatalf("%d bytes are charged to %d accounts", held(all), len(all))
		}
		rng.Shuffle(len(views), func(i, j int) { views[i], views[j] = views[j], views[i] })
		for i, v := range views {
			if string(v.B) != "one\ntwo\n" || v.Lines != 2 || v.Read != b.Read || !v.Shared() || cap(v.B) != len(v.B) {
				t.Fatalf("view %d: %+v", i, v)
			}
			if p.InUse() != int64(len(b.store)) || v.Memory() != p.InUse() {
				t.Fatalf("%d bytes are in use, the view counts %d", p.InUse(), v.Memory())
			}
			p.Put(v)
		}
		if p.InUse() != 0 || held(all) != 0 {
			t.Fatalf("%d bytes are in use, %d are charged", p.InUse(), held(all))
		}
		if again := p.MustGet(len(b.store)); &again.store[0] != store {
			t.Fatal("the memory did not come back")
		} else {
			p.Put(again)
		}
	}
}

func TestFaultsOfSharing(t *testing.T) {
	for name, fault := range map[string]func(p *Pool, b *Buffer){
		"a view is put back twice": func(p *Pool, b *Buffer) {
			v := p.Share(b, accounts(2), nil)[0]
			p.Put(v)
			p.Put(v)
		},
		"the buffer is put back beside its views": func(p *Pool, b *Buffer) {
			p.Share(b, accounts(2), nil)
			p.Put(b)
		},
		"a view is shared":         func(p *Pool, b *Buffer) { p.Share(p.Share(b, accounts(2), nil)[0], accounts(2), nil) },
		"a buffer is shared twice": func(p *Pool, b *Buffer) { p.Share(b, accounts(2), nil); p.Share(b, accounts(2), nil) },
		"a buffer is shared free":  func(p *Pool, b *Buffer) { p.Put(b); p.Share(b, accounts(2), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			p := NewPool(0)
			fault(p, p.MustGet(10))
		})
	}
}

func TestCopiesAreChargedLikeTheirOriginal(t *testing.T) {
	p := NewPool(4096)
	all := accounts(2)
	views := p.Share(p.MustGet(512), all, nil)
	part := p.TryGetLike(views[1], 1024)
	if part.Shared() || all[0].Held() != 512 || all[1].Held() != 1536 {
		t.Errorf("charged: %d and %d bytes", all[0].Held(), all[1].Held())
	}
	like := p.TryGetLike(part, 512)
	p.Put(views[1])
	p.Put(part)
	if all[1].Held() != 512 {
		t.Errorf("%d bytes are charged, want those of the copy of a copy", all[1].Held())
	}
	p.Put(like)
	p.Put(views[0])
	plain := p.MustGet(10)
	if c := p.TryGetLike(plain, 10); c.account != nil || p.TryGetLike(plain, 4096) != nil {
		t.Error("a copy is charged to no account, or exceeds the budget")
	} else {
		p.Put(c)
	}
	p.Put(plain)
	if p.InUse() != 0 || held(all) != 0 {
		t.Errorf("%d bytes are in use, %d are charged", p.InUse(), held(all))
	}
}

// Receivers put their views back at the same time, and nothing is lost or given out twice.
func TestSharingConcurrently(t *testing.T) {
	p := NewPool(1 << 20)
	all := accounts(3)
	queues := make([]chan *Buffer, len(all))
	var receivers sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan *Buffer, 8)
		receivers.Go(func() {
			n := 0
			for v := range queues[i] {
				if want := fmt.Appendf(nil, "%d\n", n); !bytes.Equal(v.B, want) {
					t.Errorf("receiver %d got %q, want %q", i, v.B, want)
				}
				n++
				p.Put(v)
			}
		})
	}
	var array [3]*Buffer
	for n := range 5000 {
		b := p.MustGet(10)
		b.B = fmt.Appendf(b.B, "%d\n", n)
		for i, v := range p.Share(b, all, array[:0]) {
			queues[i] <- v
		}
	}
	for _, q := range queues {
		close(q)
	}
	receivers.Wait()
	if p.InUse() != 0 || held(all) != 0 {
		t.Errorf("%d bytes are in use, %d are charged", p.InUse(), held(all))
	}
}

func TestSharingDoesNotAllocate(t *testing.T) {
	p := NewPool(1 << 20)
	all := accounts(2)
	allocs := testing.AllocsPerRun(100, func() {
		var array [2]*Buffer
		for _, v := range p.Share(p.MustGet(100), all, array[:0]) {
			p.Put(v)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
