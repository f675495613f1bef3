package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTimersRunInOrderAndInTime(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	var order []int
	done := make(chan struct{})
	var stopped, restarted Timer
	restarted.Do = func() { order = append(order, 3); close(done) }
	stopped.Do = func() { t.Error("a stopped timer ran") }
	var begin time.Time
	on(t, l, func() {
		begin = l.Now()
		for i, d := range []time.Duration{20 * time.Millisecond, 0, 10 * time.Millisecond} {
			l.Start(&Timer{Do: func() {
				order = append(order, []int{2, 0, 1}[i])
				if late := l.Now().Sub(begin) - d; late < 0 {
					t.Errorf("a timer ran %v too early", -late)
				}
			}}, d)
		}
		l.Start(&stopped, time.Millisecond)
		l.Start(&restarted, time.Millisecond)
		l.Start(&restarted, 30*time.Millisecond)
		l.Stop(&stopped)
		l.Stop(&stopped)
	})
	<-done
	on(t, l, func() {
		if want := []int{0, 1, 2, 3}; !slices.Equal(order, want) {
			t.Errorf("timers ran in the order %v", order)
		}
	})
}

// A timer that starts itself runs once a turn.
func TestTimerRestartsItself(t *testing.T) {
	g := start(t, 1)
	l := g.Loops()[0]
	done := make(chan struct{})
	n, timer := 0, &Timer{}
	timer.Do = func() {
		if n++; n == 10 {
			close(done)
			return
		}
		l.Start(timer, 0)
		if timer.when <= l.now.Sub(g.start) {
			t.Error("it runs again in this turn")
		}
	}
	on(t, l, func() { l.Start(timer, 0) })
	<-done
}

// FuzzTimers compares the heap with a sorted list.
func FuzzTimers(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(2))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		var h timers
		var model []*Timer
		for range 500 {
			if r.IntN(3) > 0 || len(model) == 0 {
				x := &Timer{when: time.Duration(r.IntN(50))}
				h.push(x)
				model = append(model, x)
				continue
			}
			i := r.IntN(len(model))
			h.remove(model[i].at - 1)
			if model[i].Running() {
				t.Fatal("a removed timer seems to run")
			}
			model = slices.Delete(model, i, i+1)
		}
		slices.SortStableFunc(model, func(a, b *Timer) int { return int(a.when - b.when) })
		for _, x := range model {
			if h[0].when != x.when {
				t.Fatalf("the first is due at %d, want %d", h[0].when, x.when)
			}
			h.remove(0)
		}
		if len(h) != 0 {
			t.Fatalf("%d timers left", len(h))
		}
	})
}
