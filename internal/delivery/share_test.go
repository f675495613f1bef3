package delivery

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"linesplit/linebuf"
)

// Two windows share buffers, merge, trim and confirm as they like: neither changes what the other
// holds, and all memory comes back exactly once.
func TestWindowsShareBuffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		pool := linebuf.NewPool(0)
		var accounts [2]linebuf.Account
		var windows [2]window
		var want [2]string // that the windows hold
		var pos [2]uint64  // behind it
		for range 60 {
			switch rng.IntN(3) {
			case 0, 1:
				b := pool.MustGet(1 + rng.IntN(3*maxMerge))
				text := strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(min(cap(b.B), 2*maxMerge))) + "\n"
				b.B, b.Lines, b.Read = append(b.B, text...), 1, time.Now()
				for i, v := range pool.Share(b, []*linebuf.Account{&accounts[0], &accounts[1]}, nil) {
					pos[i] += uint64(len(text))
					windows[i].push(segment{buf: v, lines: 1, end: pos[i]})
					want[i] += text
					if rng.IntN(4) > 0 {
						pool.Put(windows[i].mergeNewest(pool))
					}
				}
			case 2:
				if w := &windows[rng.IntN(2)]; !w.empty() {
					i := 0
					if w == &windows[1] {
						i = 1
					}
					s := w.pop()
					if got := string(s.bytes()); got != want[i][:len(got)] {
						t.Fatalf("window %d holds %.40q, want %.40q", i, got, want[i])
					}
					want[i] = want[i][s.len():]
					pool.Put(s.buf)
				}
			}
		}
		for i := range windows {
			for w := &windows[i]; !w.empty(); {
				s := w.pop()
				if got := string(s.bytes()); got != want[i][:len(got)] {
					t.Fatalf("window %d holds %.40q, want %.40q", i, got, want[i])
				}
				want[i] = want[i][s.len():]
				pool.Put(s.buf)
			}
			if want[i] != "" || windows[i].mem != 0 || windows[i].held != (linebuf.Count{}) {
				t.Fatalf("window %d: %.40q is missing, %d bytes, %+v", i, want[i], windows[i].mem, windows[i].held)
			}
		}
		if n := pool.InUse(); n != 0 || accounts[0].Held() != 0 || accounts[1].Held() != 0 {
			t.Fatalf("%d bytes in use, %d and %d charged", n, accounts[0].Held(), accounts[1].Held())
		}
	}
}

// A trickle of shared lines must not hold a read buffer for each.
func TestSharedTrickleIsMerged(t *testing.T) {
	pool := linebuf.NewPool(0)
	var account linebuf.Account
	var w window
	for i := range 100 {
		b := pool.MustGet(512)
		b.B, b.Lines, b.Read = append(b.B, "a line of 20 bytes.\n"...), 1, time.Now()
		w.push(segment{buf: pool.Share(b, []*linebuf.Account{&account}, nil)[0], lines: 1, end: uint64(20 * (i + 1))})
		pool.Put(w.mergeNewest(pool))
	}
	if len(w.list) > 5 || w.mem > maxMerge || account.Held() != w.mem || w.held.Lines != 100 {
		t.Errorf("%d segments, %d bytes, %d charged, %+v", len(w.list), w.mem, account.Held(), w.held)
	}
}

// Copies of small buffers were larger than what they replaced: where lines are read a second apart,
// so that only two of them at a time are merged, a group held up to four times its budget.
func TestMergingTakesNoMoreMemory(t *testing.T) {
	pool := linebuf.NewPool(0)
	var account linebuf.Account
	var w window
	read, end := time.Now(), 0
	for i := range 200 {
		size := []int{20, 500, 600, 2000}[i*i%7%4]
		b := pool.MustGet(size)
		b.B, b.Lines, b.Read = append(b.B, strings.Repeat("x", size-1)+"\n"...), 1, read
		end += size
		read = read.Add(mergeWithin * 2 / 3)
		w.push(segment{buf: pool.Share(b, []*linebuf.Account{&account}, nil)[0], lines: 1, end: uint64(end)})
		before := account.Held()
		pool.Put(w.mergeNewest(pool))
		if after := account.Held(); after > before || after != w.mem {
			t.Fatalf("%d bytes are charged, %d before; the window has %d", after, before, w.mem)
		}
	}
	if len(w.list) == 200 {
		t.Error("nothing was merged")
	}
}
