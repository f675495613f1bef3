package workerpool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"linesplit/internal/delivery"
	"linesplit/linebuf"
	"linesplit/target"
)

// shortLine is the size of the shortest line that a rig sends.
const shortLine = 15

// writes returns how many writes each connection of each target got.
func (r *rig) writes() (perTarget [][]int) {
	for _, p := range r.peers {
		var per []int
		for i := range p.dialled() {
			per = append(per, p.conn(i).state().writes)
		}
		perTarget = append(perTarget, per)
	}
	return perTarget
}

func (r *rig) sumOfWrites() (n int) {
	for _, per := range r.writes() {
		for _, k := range per {
			n += k
		}
	}
	return n
}

// wantWrites demands that each connection of each target got as many writes.
func (r *rig) wantWrites(want ...[]int) {
	r.t.Helper()
	if got := r.writes(); !slices.EqualFunc(got, want, slices.Equal) {
		r.t.Errorf("writes %v, want %v", got, want)
	}
}

func peersNamed(n int) (all []*peer) {
	for i := range n {
		all = append(all, newPeer(fmt.Sprintf("p%d", i)))
	}
	return all
}

// A read of many lines is cut for the connections that are idle, as many for each target.
func TestShortBurstIsSpread(t *testing.T) {
	for _, tc := range []struct{ targets, connections, lines, size, want int }{
		{2, 1, 260, shortLine, 2},
		{2, 4, 260, shortLine, 8},
		{1, 4, 260, shortLine, 4},
		{3, 4, 260, shortLine, 12},
		{10, 4, 260, shortLine, 10}, // 15 parts would give half of the targets twice as much
		{20, 4, 260, shortLine, 15},
		{20, 4, 1000, shortLine, maxTries},
		{2, 4, 10, 600, 8},
		{2, 4, 3, 600, 2}, // 3 parts would give one target twice as much
		{2, 4, 2, minPart, 2},
		{2, 4, 1, 4000, 1},
		{2, 4, 2*minPart/shortLine + 1, shortLine, 2},
		{2, 4, 2 * minPart / shortLine, shortLine, 1}, // too little for two parts
		{2, 4, 1024, maxCut / 1024, 8},
		{2, 4, 1025, maxCut / 1024, 1},
		{1, 1, 260, shortLine, 1},
	} {
		inBubble(t, fmt.Sprintf("%+v", tc), func(t *testing.T) {
			r := offering(t, Options{Connections: tc.connections}, peersNamed(tc.targets)...)
			r.send(tc.lines, tc.size)
			if n := r.sumOfWrites(); n != tc.want {
				t.Errorf("%d writes, want %d: %v", n, tc.want, r.writes())
			}
			perTarget := max(1, tc.want/tc.targets)
			for _, p := range r.peers {
				n := p.bytes()
				even := tc.lines * tc.size / max(tc.targets, tc.want) * perTarget
				if tc.want >= tc.targets && (n > even+perTarget*tc.size || n < even-tc.want*tc.size) {
					t.Errorf("%s got %d bytes, an even share is %d", p.name, n, even)
				}
			}
			r.finish(time.Second)
			r.wantOnce()
		})
	}
}

// A quiet connection over TLS reads 512 bytes first, and the rest just afterwards.
func TestBurstOfTwoReadsIsSpread(t *testing.T) {
	inBubble(t, "while the first is not acknowledged", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.holdAcks, b.holdAcks = true, true
		r := offering(t, Options{}, a, b)
		r.send(512/16, 16)
		r.send(3488/16, 16)
		if n, m := a.bytes(), b.bytes(); n != 2000 || m != 2000 {
			t.Errorf("%d bytes at one target, %d at the other", n, m)
		}
		for _, p := range r.peers {
			p.set(func() { p.holdAcks = false })
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

// A long burst is cut only at its beginning.
func TestLongBurstIsSpread(t *testing.T) {
	inBubble(t, "in growing shares", func(t *testing.T) {
		r := offering(t, Options{Connections: 2}, peersNamed(2)...)
		const size = 16 << 10
		cut := 0 // more writes than buffers, in the beginning
		for i := range maxCut / size {
			r.send(size/512, 512)
			cut = r.sumOfWrites() - (i + 1)
		}
		if cut < 4 || cut > 3*maxCut/size {
			t.Errorf("cutting made %d more writes", cut)
		}
		least, most := r.peers[0].bytes(), r.peers[1].bytes()
		if least, most = min(least, most), max(least, most); most-least > size/4 {
			t.Errorf("after %d bytes, one target has %d and the other %d", maxCut, least, most)
		}
		for range longBurst / size {
			r.send(size/512, 512)
		}
		if n := r.sumOfWrites() - (maxCut+longBurst)/size; n != cut {
			t.Errorf("cutting made %d more writes in all, %d of them in the beginning", n, cut)
		}
		before := r.writes()
		for range stayWrites {
			r.send(size/512, 512)
		}
		changed := 0
		for i, per := range r.writes() {
			for k, n := range per {
				if n != before[i][k] {
					changed++
				}
			}
		}
		if changed > 2 {
			t.Errorf("at last, %d connections got parts of 1 MiB", changed)
		}
		r.finish(time.Minute)
		r.wantOnce()
	})
}

// takeTurns gives the rig so many outlets, which send one after the other.
func (r *rig) takeTurns(n int) {
	outlets := make([]*Outlet, n)
	for i := range outlets {
		outlets[i] = r.pool.NewOutlet()
	}
	turn := -1
	r.outlet = func() *Outlet {
		turn++
		return outlets[turn%n]
	}
}

func TestUnderLoadNothingIsCut(t *testing.T) {
	inBubble(t, "one sender without pauses", func(t *testing.T) {
		r := offering(t, Options{Connections: 2}, peersNamed(2)...)
		r.send(1, maxCut)
		for range 1000 {
			time.Sleep(stayPause)
			r.send(4, 1000)
		}
		if n := r.sumOfWrites(); n != 1001 {
			t.Errorf("%d writes for 1001 buffers", n)
		}
		r.finish(time.Minute)
		r.wantOnce()
	})
	inBubble(t, "many senders with pauses", func(t *testing.T) {
		r := offering(t, Options{Connections: 2}, peersNamed(2)...)
		const senders, rounds = 100, 80
		r.takeTurns(senders)
		for range senders * rounds {
			r.send(4, 1000)
			time.Sleep(40 * time.Microsecond)
		}
		if n := r.sumOfWrites(); n > senders*rounds+maxParts {
			t.Errorf("%d writes for %d buffers", n, senders*rounds)
		}
		time.Sleep(2 * target.Tick)
		before := r.sumOfWrites()
		r.send(64, 64)
		if n := r.sumOfWrites() - before; n != 4 {
			t.Errorf("after that, a burst made %d writes", n)
		}
		r.finish(time.Minute)
		r.wantOnce()
	})
	inBubble(t, "one sender of 50 MB a second, with pauses", func(t *testing.T) {
		r := offering(t, Options{Connections: 2}, peersNamed(2)...)
		const buffers = 300
		for range buffers {
			r.send(maxCut/2048, 2048)
			time.Sleep(stayPause + stayPause/4)
		}
		if n := r.sumOfWrites(); n > buffers+maxParts {
			t.Errorf("%d writes for %d buffers", n, buffers)
		}
		r.finish(time.Minute)
		r.wantOnce()
	})
	inBubble(t, "many short bursts", func(t *testing.T) {
		r := offering(t, Options{Connections: 8}, peersNamed(2)...)
		for range 100 {
			time.Sleep(stayPause + time.Microsecond)
			r.send(64, 64)
		}
		if n := r.sumOfWrites(); n != 100+maxParts*15/16 {
			t.Errorf("%d writes for 100 bursts", n)
		}
		r.finish(time.Minute)
	})
}

// Looking for idle connections has its price, too, where there are none.
func TestLooksAreLimited(t *testing.T) {
	inBubble(t, "while bytes are on their way", func(t *testing.T) {
		a := newPeer("a")
		a.holdAcks = true
		r := offering(t, Options{Connections: 8}, a)
		for range 100 {
			time.Sleep(stayPause + time.Microsecond)
			r.send(64, 64)
		}
		looks := 0 // also those of ticks, and the few after many writes
		for i := range 8 {
			looks += a.conn(i).state().looks
		}
		if most := maxParts + 8*4; looks > most {
			t.Errorf("%d looks, want %d at most", looks, most)
		}
		a.set(func() { a.holdAcks = false })
		r.finish(time.Second)
		r.wantOnce()
	})
}

// oneIsBusy returns a rig of three targets, of which b was given a short line. From then on the rig
// sends with another outlet.
func oneIsBusy(t *testing.T, prepare func(b *peer)) (r *rig, b *peer) {
	b = newPeer("b")
	prepare(b)
	r = newRig(t, Options{}, []*peer{newPeer("a"), b, newPeer("c")})
	sender, other := r.pool.NewOutlet(), r.pool.NewOutlet()
	for other.at%3 != 0 {
		other.at++ // the line goes to the next one, which is b's
	}
	r.outlet = func() *Outlet { return other }
	r.send(1, 100)
	r.outlet = func() *Outlet { return sender }
	return r, b
}

func TestOnlyIdleConnectionsGetParts(t *testing.T) {
	inBubble(t, "not while bytes are on their way", func(t *testing.T) {
		r, b := oneIsBusy(t, func(b *peer) { b.holdAcks = true })
		r.send(100, 40)
		r.wantWrites([]int{1}, []int{1}, []int{1})
		b.set(func() { b.holdAcks = false }) // no tick has noticed when the next burst comes
		time.Sleep(2 * stayPause)
		r.send(100, 40)
		r.wantWrites([]int{2}, []int{2}, []int{2})
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "not while a write waits", func(t *testing.T) {
		r, b := oneIsBusy(t, func(b *peer) { b.holdAcks, b.sendBuf = true, 50 })
		r.send(100, 40)
		r.wantWrites([]int{1}, []int{1}, []int{1})
		b.set(func() { b.holdAcks = false })
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "not where nothing is connected", func(t *testing.T) {
		r, b := oneIsBusy(t, func(b *peer) { b.refuse = true })
		before := r.sumOfWrites()
		r.send(100, 40)
		if n := r.sumOfWrites() - before; n != 2 {
			t.Errorf("%d writes: %v", n, r.writes())
		}
		b.set(func() { b.refuse = false })
		r.finish(time.Second)
	})
	// The outlet's look finds the failure, and the worker has to learn that it has something to do.
	inBubble(t, "one that has failed is replaced", func(t *testing.T) {
		r, b := oneIsBusy(t, func(b *peer) { b.holdAcks = true })
		b.conn(0).do(func() { b.conns[0].err = errReset }) // no event tells the worker
		r.send(100, 40)
		r.pass(delivery.InitialDelay * 2) // less than a tick
		if n := r.peers[0].dialled() + b.dialled() + r.peers[2].dialled(); n != 4 {
			t.Errorf("%d dials in all", n)
		}
		b.set(func() { b.holdAcks = false })
		r.finish(time.Second)
	})
}

// Without memory for parts a burst goes to one worker, as it is.
func TestWithoutMemoryNothingIsCut(t *testing.T) {
	inBubble(t, "the budget is in use", func(t *testing.T) {
		r := offering(t, Options{Connections: 2}, peersNamed(2)...)
		b := r.buffer(100, 40, 0)
		all := r.buffers.MustGet(int(r.buffers.Limit()))
		if !r.outlet().Offer(b) {
			t.Error("not taken")
		}
		r.buffers.Put(all)
		if n := r.sumOfWrites(); n != 1 {
			t.Errorf("%d writes", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

// Lines that a spool has in one frame go to one worker where batches are noted, so that they are in
// one batch. Others are cut all the same.
func TestKeptBuffersStayWhole(t *testing.T) {
	for kept, want := range map[bool]int{true: 1, false: 4} {
		inBubble(t, fmt.Sprint("kept: ", kept), func(t *testing.T) {
			o := Options{Connections: 2}
			o.Acknowledged.Note = func(linebuf.Mark, []linebuf.Run) {}
			r := offering(t, o, peersNamed(2)...)
			b := r.buffer(100, 40, 0)
			if kept {
				x := new(issued)
				x.Init(x)
				b.Attach(&x.Receipt, 1)
			}
			if !r.outlet().Offer(b) {
				t.Error("not taken")
			}
			if n := r.sumOfWrites(); n != want {
				t.Errorf("%d writes, want %d", n, want)
			}
			r.finish(time.Second)
			r.wantOnce()
		})
	}
}

func TestOfferDoesNotAllocate(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pause time.Duration
	}{{"a stream", 0}, {"bursts that are cut", 2 * stayPause}} {
		inBubble(t, tc.name, func(t *testing.T) {
			buffers := linebuf.NewPool(64 << 20)
			pool := runSinks(t, buffers, 8)
			outlet := pool.NewOutlet()
			read := time.Now()
			offer := func() {
				b := buffers.MustGet(4096)
				for len(b.B) < 4000 {
					b.B = append(b.B, "0123456789012345678901234567890123456789012345678\n"...)
				}
				read = read.Add(tc.pause)
				b.Lines, b.Read = len(b.B)/50, read
				pool.parts.Store(maxParts)
				if !outlet.Offer(b) {
					t.Error("not taken")
				}
			}
			for range 1000 {
				offer()
			}
			if n := testing.AllocsPerRun(100, offer); n != 0 {
				t.Errorf("%v allocations for each buffer", n)
			}
		})
	}
}
