package fanout

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// keptRig is a fan-out with a spool whose groups are read by the test.
type keptRig struct {
	t       *testing.T
	rng     *rand.Rand
	buffers *linebuf.Pool
	spool   *memorySpool
	fan     *Fanout

	mu  sync.Mutex
	got []map[string]int // by group
	all [][]string       // in the order in which they came
}

func newKeptRig(t *testing.T, seed uint64, groups []Options, kept Kept) *keptRig {
	r := &keptRig{t: t, rng: rand.New(rand.NewPCG(seed, 0)), buffers: linebuf.NewPool(1 << 24)}
	r.spool = newMemorySpool(r.buffers, 1+r.rng.IntN(50))
	kept.Spool = r.spool
	for range groups {
		r.got, r.all = append(r.got, map[string]int{}), append(r.all, nil)
	}
	r.fan = NewKept(r.buffers, groups, kept, slog.New(slog.DiscardHandler))
	return r
}

// maybeFail makes the disk take nothing, perhaps. Only the mode overflow goes on then.
func (r *keptRig) maybeFail(rng *rand.Rand) {
	if !r.fan.kept.Always && rng.IntN(3) == 0 {
		r.spool.limit = 0
	}
}

// take is what a worker does with a buffer.
func (r *keptRig) take(group int, b *linebuf.Buffer) {
	r.mu.Lock()
	for line := range bytes.Lines(b.B) {
		r.got[group][string(line)]++
		r.all[group] = append(r.all[group], string(line))
	}
	r.mu.Unlock()
	r.buffers.Put(b)
}

// work takes buffers of a group, with pauses that are long at times.
func (r *keptRig) work(group int, from <-chan *linebuf.Buffer, rng *rand.Rand) {
	for b := range from {
		if rng.IntN(20) == 0 {
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		r.take(group, b)
	}
}

// maybe is an outlet that takes some buffers.
type maybe struct {
	r     *keptRig
	group int
	rng   *rand.Rand
}

func (o maybe) Offer(b *linebuf.Buffer) bool {
	if o.rng.IntN(4) > 0 {
		return false
	}
	o.r.take(o.group, b)
	return true
}

// offering is a splitter.KeyedOutlet.
type offering interface {
	Offer(*linebuf.Buffer) bool
	Room() <-chan struct{}
}

// send offers n buffers of one line each, and waits while they are not taken.
func (r *keptRig) send(sender, n int, to offering, rng *rand.Rand) {
	for i := range n {
		b := r.buffers.MustGet(512)
		b.B, b.Lines = fmt.Appendf(b.B, "%d-%04d\n", sender, i), 1
		for room := to.Room(); !to.Offer(b); room = to.Room() {
			<-room
		}
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
	}
}

// check demands that each required group has each line once.
func (r *keptRig) check(seed uint64, lines int) {
	for i, g := range r.fan.Groups() {
		if !g.Required {
			continue
		}
		for line, n := range r.got[i] {
			if n != 1 {
				r.t.Errorf("seed %d: group %d got %q %d times", seed, i, line, n)
			}
		}
		if len(r.got[i]) != lines {
			r.t.Errorf("seed %d: group %d got %d lines of %d", seed, i, len(r.got[i]), lines)
		}
	}
	if r.buffers.InUse() != 0 || r.spool.frames != 0 || r.spool.faults != nil {
		r.t.Errorf("seed %d: %d bytes of memory and %d frames are left; %v", seed, r.buffers.InUse(), r.spool.frames, r.spool.faults)
	}
}

// Some groups are slow for some time. Each required group gets each line once, directly or from the
// spool, and all lines are confirmed at the end. With a disk that takes nothing, senders go on as
// soon as workers have room.
func TestEachGroupGetsEachLineOnceThroughTheSpool(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var groups []Options
			for i := range 1 + rng.IntN(3) {
				groups = append(groups, Options{Name: fmt.Sprint(i), Required: i == 0 || rng.IntN(3) > 0, Budget: 4096,
					Queue: 1 + rng.IntN(8)})
			}
			r := newKeptRig(t, seed, groups, Kept{Always: rng.IntN(2) == 0})
			r.maybeFail(rng)
			var workers, senders sync.WaitGroup
			for i, g := range r.fan.Groups() {
				for w := range 2 {
					workers.Go(func() { r.work(i, g.Lines(), rand.New(rand.NewPCG(seed, uint64(10*i+w)))) })
				}
			}
			lines := make(chan *linebuf.Buffer)
			workers.Go(func() { r.fan.Run(t.Context(), t.Context(), lines) })
			const each = 200
			for sender := range 3 {
				rng := rand.New(rand.NewPCG(seed, uint64(100+sender)))
				var outlets []Outlet
				for i := range groups {
					outlets = append(outlets, maybe{r, i, rng})
				}
				senders.Go(func() { r.send(sender, each, r.fan.NewKeptOutlet(outlets), rng) })
			}
			senders.Wait()
			close(lines)
			workers.Wait()
			r.check(seed, 3*each)
		})
	}
}

// fewLanes is the lanes of one group: a queue of some buffers.
type fewLanes struct {
	r     *keptRig
	queue chan *linebuf.Buffer
	mu    *sync.Mutex
	room  *chan struct{} // guarded by mu: closed when there is room again
}

func newFewLanes(r *keptRig, n int) fewLanes {
	room := make(chan struct{})
	return fewLanes{r, make(chan *linebuf.Buffer, n), new(sync.Mutex), &room}
}

func (l fewLanes) Prepare(*linebuf.Buffer)    {}
func (l fewLanes) Flush()                     {}
func (l fewLanes) TakeDropped() linebuf.Count { return linebuf.Count{} }

func (l fewLanes) Offer(b *linebuf.Buffer) bool {
	select {
	case l.queue <- b:
		return true
	default:
		return false
	}
}

func (l fewLanes) Room() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.room
}

func (l fewLanes) work(rng *rand.Rand) {
	for b := range l.queue {
		l.mu.Lock()
		close(*l.room)
		*l.room = make(chan struct{})
		l.mu.Unlock()
		if rng.IntN(20) == 0 {
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		l.r.take(0, b)
	}
}

// sharingLanes offers buffers to lanes as lane.Multi does: by way of Fanout.Share.
type sharingLanes struct {
	fewLanes
	fan **Fanout
	rng *rand.Rand
}

func (l sharingLanes) Offer(b *linebuf.Buffer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= cap(l.queue)/2 { // replays need the rest, since they look before they put
		return false
	}
	views := (*l.fan).Share(b, nil)
	switch {
	case len(views) == 0:
		return false
	case views[0].Kept() && l.rng.IntN(10) == 0: // all lanes were removed meanwhile
		(*l.fan).Drop(0, views[0])
		return true
	}
	return l.fewLanes.Offer(views[0])
}

// Lines with keys never overtake those of their sender that wait in the spool. A disk that takes
// nothing holds senders up only while lanes have no room.
func TestOrderThroughTheSpool(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			var lanes fewLanes
			groups := []Options{{Name: "main", Required: true, Queue: 4}}
			r := newKeptRig(t, seed, groups, Kept{Always: rng.IntN(2) == 0, NewReplay: func(int) ReplayOutlet { return lanes }})
			r.maybeFail(rng)
			lanes = newFewLanes(r, 8+rng.IntN(8))
			var running, senders sync.WaitGroup
			running.Go(func() { lanes.work(rng) })
			lines := make(chan *linebuf.Buffer)
			over := make(chan struct{})
			go func() { defer close(over); r.fan.Run(t.Context(), t.Context(), lines) }()
			const each = 200
			for sender := range 3 {
				rng := rand.New(rand.NewPCG(seed, uint64(100+sender)))
				senders.Go(func() { r.send(sender, each, r.fan.NewKeptLanes(sharingLanes{lanes, &r.fan, rng}), rng) })
			}
			senders.Wait()
			close(lines)
			<-over
			close(lanes.queue)
			running.Wait()
			r.check(seed, 3*each)
			for sender := range 3 {
				var of []string
				for _, line := range r.all[0] {
					if line[0] == byte('0'+sender) {
						of = append(of, line)
					}
				}
				if !slices.IsSorted(of) {
					t.Errorf("seed %d: the lines of sender %d are out of order", seed, sender)
				}
			}
		})
	}
}

// Workers that stop leave the rest to the spool, once, and a replay leaves there what it has in
// hand.
func TestRestGoesToTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newKeptRig(t, 1, []Options{{Name: "main", Required: true, Queue: 4}}, Kept{})
		r.spool.limit = 1000
		soft, endSoft := context.WithCancel(t.Context())
		hard, endHard := context.WithCancel(t.Context())
		lines, over := make(chan *linebuf.Buffer), make(chan struct{})
		go func() { defer close(over); r.fan.Run(soft, hard, lines) }()
		outlet := r.fan.NewKeptOutlet([]Outlet{notNow{}})
		r.send(0, 100, outlet, r.rng)
		synctest.Wait()
		endSoft()
		close(lines)
		endHard()
		<-over
		r.fan.KeepRest(t.Context())
		if n := len(r.spool.waiting[0]); r.buffers.InUse() != 0 || r.spool.frames != 100 {
			t.Errorf("%d frames, of which %d wait; %d bytes in use", r.spool.frames, n, r.buffers.InUse())
		}
		g := r.fan.Groups()[0]
		if in, out := g.Spilled().Lines, g.Returned().Lines; in-out != 100 {
			t.Errorf("%d lines went to the spool, %d came back", in, out)
		}
	})
}

// A sender that waits for a full spool when the workers end is let go, and what it has is counted.
// It waited for an announcement that could not come any more.
func TestSendersDoNotWaitForTheSpoolAtTheEnd(t *testing.T) {
	for _, kept := range []Kept{{}, {Always: true}, {NewReplay: func(int) ReplayOutlet { return noReplay{} }}} {
		synctest.Test(t, func(t *testing.T) {
			r := newKeptRig(t, 1, []Options{{Name: "main", Required: true, Queue: 4}}, kept)
			r.spool.limit = 3
			hard, endHard := context.WithCancel(t.Context())
			lines, over := make(chan *linebuf.Buffer), make(chan struct{})
			go func() { defer close(over); r.fan.Run(hard, hard, lines) }()
			var outlet offering = r.fan.NewKeptOutlet([]Outlet{notNow{}})
			if kept.NewReplay != nil {
				outlet = r.fan.NewKeptLanes(noReplay{})
			}
			var sender sync.WaitGroup
			sender.Go(func() { r.send(0, 50, outlet, r.rng) })
			time.Sleep(time.Minute)
			endHard()
			sender.Wait()
			close(lines)
			<-over
			atLast, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			r.fan.KeepRest(atLast)
			if n := r.fan.Lost().Lines + uint64(r.spool.frames); n != 50 || r.buffers.InUse() != 0 {
				t.Errorf("of 50 lines %d are lost and %d in the spool; %d bytes in use", r.fan.Lost().Lines, r.spool.frames,
					r.buffers.InUse())
			}
		})
	}
}

// Workers get no lines as long as these have to be in the spool first, and it refuses them.
func TestEndOfAlways(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var lanes fewLanes
			kept := Kept{Always: true}
			if keyed {
				kept.NewReplay = func(int) ReplayOutlet { return lanes }
			}
			r := newKeptRig(t, 1, []Options{{Name: "main", Required: true, Queue: 4}}, kept)
			r.spool.limit = 0
			lanes = newFewLanes(r, 8)
			lines := make(chan *linebuf.Buffer)
			var working, running sync.WaitGroup
			working.Go(func() { r.work(0, r.fan.Groups()[0].Lines(), rand.New(rand.NewPCG(1, 1))) })
			working.Go(func() { lanes.work(rand.New(rand.NewPCG(1, 2))) })
			running.Go(func() { r.fan.Run(t.Context(), t.Context(), lines) })
			var outlet offering = r.fan.NewKeptOutlet([]Outlet{notNow{}})
			if keyed {
				outlet = r.fan.NewKeptLanes(sharingLanes{lanes, &r.fan, r.rng})
			}
			var sender sync.WaitGroup
			sender.Go(func() { r.send(0, 50, outlet, r.rng) })
			time.Sleep(time.Minute)
			if n := len(r.got[0]); n > 0 {
				t.Errorf("%d lines have passed the spool", n)
			}
			r.fan.EndAlways()
			sender.Wait()
			close(lines)
			running.Wait()
			close(lanes.queue)
			working.Wait()
			r.check(1, 50)
		})
	}
}

// noReplay is lanes that take nothing.
type noReplay struct{ notNow }

func (noReplay) Prepare(*linebuf.Buffer)    {}
func (noReplay) Flush()                     {}
func (noReplay) TakeDropped() linebuf.Count { return linebuf.Count{} }
func (noReplay) Room() <-chan struct{}      { return nil }

// notNow is an outlet that takes nothing.
type notNow struct{}

func (notNow) Offer(*linebuf.Buffer) bool { return false }
