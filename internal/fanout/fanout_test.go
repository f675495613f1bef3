package fanout

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// rig is a fan-out whose groups are read by the test.
type rig struct {
	t       *testing.T
	buffers *linebuf.Pool
	fan     *Fanout
	lines   chan *linebuf.Buffer
	log     bytes.Buffer
	hard    context.CancelFunc
	ended   chan struct{}
	sent    linebuf.Count
	seq     int

	readers sync.WaitGroup
	got     [][]int // numbers of the buffers that came, by group
}

func newRig(t *testing.T, groups ...Options) *rig {
	r := &rig{t: t, buffers: linebuf.NewPool(1 << 20), lines: make(chan *linebuf.Buffer, 2), ended: make(chan struct{})}
	r.got = make([][]int, len(groups))
	r.fan = New(r.buffers, groups, slog.New(slog.NewTextHandler(&r.log, nil)))
	hard, cancel := context.WithCancel(t.Context())
	r.hard = cancel
	go func() {
		defer close(r.ended)
		r.fan.Run(hard, hard, r.lines)
	}()
	return r
}

// read lets the workers of a group take buffers, after a pause before each.
func (r *rig) read(group int, pause func() time.Duration) {
	r.readers.Go(func() {
		for b := range r.fan.Groups()[group].Lines() {
			r.note(group, b)
			time.Sleep(pause())
		}
	})
}

func (r *rig) note(group int, b *linebuf.Buffer) {
	var n int
	if _, err := fmt.Sscanf(string(b.B), "%d\n", &n); err != nil || !b.Shared() {
		r.t.Errorf("group %d got %q, shared %v", group, b.B, b.Shared())
	}
	r.got[group] = append(r.got[group], n)
	r.buffers.Put(b)
}

func (r *rig) buffer() *linebuf.Buffer {
	b := r.buffers.MustGet(512)
	b.B, b.Lines = fmt.Appendf(b.B, "%d\n", r.seq), 1
	r.seq++
	r.sent.Add(linebuf.Count{Lines: 1, Bytes: uint64(len(b.B))})
	return b
}

// check demands that each group has got each buffer once, in order, or has dropped it.
func (r *rig) check() {
	r.t.Helper()
	for i, g := range r.fan.Groups() {
		if !slices.IsSorted(r.got[i]) || len(slices.Compact(slices.Clone(r.got[i]))) != len(r.got[i]) {
			r.t.Errorf("%s: out of order, or twice: %v", g.Name, r.got[i])
		}
		dropped := g.Dropped()
		if n := uint64(len(r.got[i])) + dropped.Lines; n != r.sent.Lines || g.Required && dropped.Lines > 0 {
			r.t.Errorf("%s: got %d, dropped %d of %d", g.Name, len(r.got[i]), dropped.Lines, r.sent.Lines)
		}
		if g.Held() != 0 {
			r.t.Errorf("%s holds %d bytes at the end", g.Name, g.Held())
		}
	}
	if n := r.buffers.InUse(); n != 0 {
		r.t.Errorf("%d bytes were not given back", n)
	}
}

// outletOf is an outlet of a group that sometimes takes what it is offered.
type outletOf struct {
	r     *rig
	group int
	takes func() bool
}

func (o outletOf) Offer(b *linebuf.Buffer) bool {
	if !o.takes() {
		return false
	}
	o.r.note(o.group, b)
	return true
}

// Whatever the groups' workers do, each line reaches each group once or is counted as dropped
// there, a required group drops nothing, and all memory comes back.
func TestEachGroupGetsEachLineOnce(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			var groups []Options
			for i := range 1 + rng.IntN(4) {
				groups = append(groups, Options{Name: fmt.Sprint(i), Required: i == 0 || rng.IntN(2) == 0,
					Budget: 512 * int64(1+rng.IntN(20)), Queue: rng.IntN(4)})
			}
			r := newRig(t, groups...)
			for i := range groups {
				most := 1 + rng.IntN(3)
				pauses := rand.New(rand.NewPCG(seed, uint64(i+1)))
				r.read(i, func() time.Duration { return time.Duration(pauses.IntN(most)) * time.Millisecond })
			}
			for range 100 {
				r.lines <- r.buffer()
				time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
			}
			close(r.lines)
			r.readers.Wait()
			<-r.ended
			r.check()
		})
	}
}

// Senders that write past the channel wait for a required group, too, and order is kept while one
// sender does.
func TestOutlets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Name: "main", Required: true, Queue: 2}, Options{Name: "slow", Required: true, Queue: 2})
		idle := true
		takes := func() bool { return idle }
		o := r.fan.NewOutlet([]Outlet{outletOf{r, 0, takes}, outletOf{r, 1, func() bool { return false }}})
		offered := 0
		for o.Offer(r.buffer()) {
			offered++
			synctest.Wait()
		}
		if offered != 3 { // two in the queue of the slow group, one in its list
			t.Errorf("%d buffers were taken", offered)
		}
		if len(r.got[0]) != 3 {
			t.Errorf("the idle group has %d", len(r.got[0]))
		}
		rest := r.buffer() // as of the refused one, whose memory the sender still has
		idle = false
		go func() { r.lines <- rest }()
		synctest.Wait()
		if len(r.fan.Groups()[0].Lines()) > 0 {
			t.Error("a line went on although a required group is behind")
		}
		r.read(0, func() time.Duration { return 0 })
		r.read(1, func() time.Duration { return 0 })
		synctest.Wait()
		if !o.Offer(r.buffer()) {
			t.Error("refused although no group is behind")
		}
		close(r.lines)
		<-r.ended
		r.readers.Wait()
		if n := r.buffers.InUse(); n != 512 || len(r.got[0]) != 5 || len(r.got[1]) != 5 {
			t.Errorf("%d bytes, %v", n, r.got)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Name: "main", Required: true, Queue: 1}, Options{Name: "archive", Budget: 10 * 512, Queue: 1})
		r.read(0, func() time.Duration { return 0 })
		for range 1000 {
			r.lines <- r.buffer()
		}
		synctest.Wait()
		g := r.fan.Groups()[1]
		if g.Held() != 10*512 || g.Dropped().Lines != 990 || len(r.got[0]) != 1000 {
			t.Errorf("holds %d bytes, dropped %d; main got %d", g.Held(), g.Dropped().Lines, len(r.got[0]))
		}
		if n := strings.Count(r.log.String(), "over its budget"); n != 1 {
			t.Errorf("%d lines of the log:\n%s", n, &r.log)
		}
		g.FlushLog()
		if !strings.Contains(r.log.String(), "group=archive dropped_lines_so_far=990") {
			t.Errorf("the sum is missing:\n%s", &r.log)
		}
		r.read(1, func() time.Duration { return 0 }) // its targets are back
		synctest.Wait()
		if !slices.Equal(r.got[1], []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("the newest were to be dropped, and it has got %v", r.got[1])
		}
		close(r.lines)
		<-r.ended
		r.readers.Wait()
		r.check()
	})
}

// A buffer that is larger than the budget must not be dropped for a group that is idle.
func TestBudgetSmallerThanABuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Name: "main", Required: true, Queue: 9}, Options{Name: "archive", Budget: 100, Queue: 9})
		r.read(0, func() time.Duration { return 0 })
		r.lines <- r.buffer()
		r.lines <- r.buffer()
		synctest.Wait()
		if n := r.fan.Groups()[1].Dropped().Lines; n != 1 {
			t.Errorf("%d of two were dropped", n)
		}
		r.read(1, func() time.Duration { return 0 })
		close(r.lines)
		<-r.ended
		r.readers.Wait()
		r.check()
	})
}

func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // hard, while a required group and the channel are full
		r := newRig(t, Options{Name: "main", Required: true, Queue: 1})
		o := r.fan.NewOutlet([]Outlet{outletOf{r, 0, func() bool { return false }}})
		for o.Offer(r.buffer()) {
		}
		r.lines <- r.buffer()
		synctest.Wait()
		r.hard()
		<-r.ended
		r.fan.Groups()[0].enqueue(r.buffers.Share(r.buffer(), r.fan.accounts, nil)[0]) // a sender that has not ended yet
	})
	synctest.Test(t, func(t *testing.T) { // a best-effort group that takes nothing is abandoned
		r := newRig(t, Options{Name: "main", Required: true, Queue: 1}, Options{Name: "archive", Budget: 1 << 20, Queue: 1})
		r.read(0, func() time.Duration { return 0 })
		for range 10 {
			r.lines <- r.buffer()
		}
		close(r.lines)
		r.readers.Wait()
		synctest.Wait()
		select {
		case <-r.ended:
			t.Error("ended before the group was abandoned")
		default:
		}
		r.fan.Groups()[1].Abandon()
		r.fan.Groups()[1].Abandon()
		<-r.ended
	})
}
