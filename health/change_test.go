package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

func newTarget(i int) *target.Target {
	return target.New(target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprintf("h%d:1", i)}, nil)
}

// pass lets time pass, and all that is due then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Targets that come later are checked like the first, and those that go are not checked any more.
func TestWatchAddsAndRemoves(t *testing.T) {
	for _, kind := range []Kind{TCP, None} {
		synctest.Test(t, func(t *testing.T) {
			later := newTarget(2)
			later.Address.Host = "later:1"
			var checks atomic.Int32
			r := newRig(Options{Check: Check{kind: kind}}, nil)
			r.check = func(_ context.Context, a target.Address) error {
				if a == later.Address {
					checks.Add(1)
				}
				return errBad
			}
			r.dial = r.check
			without, with := []*target.Target{r.target}, []*target.Target{r.target, later, later}
			r.run(t, time.Hour, func() {
				pass(time.Minute)
				later.DialFailed(errBad)
				r.Watch(with)
				r.Watch(with)
				pass(time.Minute)
				if n := checks.Load(); n < 5 || !later.Down() {
					t.Errorf("%q: %d checks in a minute, down %v", kind, n, later.Down())
				}
				r.Watch(without)
				r.Watch(without)
				n := checks.Load()
				pass(time.Minute)
				if checks.Load() != n || !later.Down() {
					t.Errorf("%q: %d checks after its end, down %v", kind, checks.Load()-n, later.Down())
				}
				r.Watch(with)
				pass(time.Minute)
				if checks.Load() == n {
					t.Errorf("%q: not checked when it came again", kind)
				}
			})
			r.Watch(without)
			r.Watch(with)
		})
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := newTarget(2)
		later.Address.Host = "later:1"
		checks := make(map[target.Address]int)
		var mu sync.Mutex // protects checks
		r := newRig(Options{Check: Check{kind: TCP}}, nil)
		r.check = func(_ context.Context, a target.Address) error {
			mu.Lock()
			defer mu.Unlock()
			checks[a]++
			return nil
		}
		r.run(t, time.Hour, func() {
			for _, list := range [][]*target.Target{{r.target, later}, {later}, {later, r.target}, {}} {
				r.Watch(list)
				mu.Lock()
				clear(checks)
				mu.Unlock()
				pass(time.Minute)
				mu.Lock()
				if len(checks) != len(list) || len(list) == 1 && checks[later.Address] == 0 {
					t.Errorf("checks of %v for %v", checks, list)
				}
				mu.Unlock()
			}
		})
	})
}

// A check that is being made when its target is removed has no consequences, and is over when
// Watch returns.
func TestRemoveDuringACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		r := newRig(Options{Check: Check{kind: TCP}, Fall: 1, Timeout: time.Hour, Observe: func(*target.Target, bool, time.Duration) { t.Error("counted") }},
			func(ctx context.Context, _ int) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = true
				return ctx.Err()
			})
		r.run(t, time.Minute, func() {
			pass(10 * time.Second)
			if r.Watch(nil); !ended {
				t.Error("it goes on")
			}
		})
		if len(r.checked) != 1 || r.target.Down() {
			t.Errorf("%d checks, down %v", len(r.checked), r.target.Down())
		}
	})
}

// Watch cancels the checks of all targets that leave at once, and so takes as long as the slowest.
func TestWatchStopsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		r := newRig(Options{Check: Check{kind: TCP}, Timeout: time.Hour}, nil)
		r.check = func(ctx context.Context, _ target.Address) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended.Add(1)
			return ctx.Err()
		}
		r.run(t, time.Minute, func() {
			r.Watch([]*target.Target{newTarget(0), newTarget(1), newTarget(2)})
			pass(10 * time.Second)
			ended.Store(0) // the check of r.target, which Watch has just removed, may have counted
			start := time.Now()
			r.Watch(nil)
			if took := time.Since(start); took != time.Second || ended.Load() != 3 {
				t.Errorf("%d checks had ended after %v, want 3 after 1s", ended.Load(), took)
			}
		})
	})
}

// A new interval counts from the last check, also where the old one was long.
func TestReconfigureInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Check: Check{kind: TCP}, Interval: time.Hour}
		var checks atomic.Int32
		r := newRig(o, func(context.Context, int) error { checks.Add(1); return nil })
		wants := func(n int32, when string) {
			t.Helper()
			if got := checks.Load(); got != n {
				t.Errorf("%d checks %s, want %d", got, when, n)
			}
		}
		r.run(t, 98*time.Minute, func() {
			pass(30 * time.Minute)
			wants(1, "at first")
			o.Interval = 2 * time.Hour
			r.Reconfigure(o)
			pass(50 * time.Minute)
			wants(1, "before the next is due")
			o.Interval = 10 * time.Minute
			r.Reconfigure(o)
			pass(time.Second)
			wants(2, "when one was overdue")
			pass(12 * time.Minute)
			wants(3, "after the new interval")
		})
		if !about(r.gap(3), 10*time.Minute) {
			t.Errorf("the last check came after %v", r.gap(3))
		}
	})
}

// Twenty new configurations in a row bring neither a check more nor another verdict.
func TestReconfigureKeepsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Check: Check{kind: TCP}, Rise: 2, Fall: 3}
		var good atomic.Bool
		var checks atomic.Int32
		r := newRig(o, func(context.Context, int) error {
			checks.Add(1)
			if good.Load() {
				return nil
			}
			return errBad
		})
		r.run(t, time.Hour, func() {
			pass(time.Minute)
			since, n := r.target.Status().Since, checks.Load()
			for i := range 20 {
				o.Check.kind = []Kind{TCP, TLS, HTTP}[i%3]
				r.Reconfigure(o)
				pass(100 * time.Millisecond)
			}
			if s := r.target.Status(); !r.target.Unhealthy() || s.Since != since || checks.Load() > n+1 {
				t.Errorf("%+v, %d checks within 2 s", s, checks.Load()-n)
			}
			good.Store(true)
			o.Rise = 4
			n = checks.Load()
			r.Reconfigure(o)
			for r.target.Down() {
				pass(time.Second)
			}
			if got := checks.Load() - n; got != 4 {
				t.Errorf("up after %d good checks, want 4", got)
			}
		})
	})
}

// Where checks end, what they have said ends, too, and dials tell; where they begin, they take
// over what dials have said.
func TestReconfigureToAndFromRedials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with, without := Options{Check: Check{kind: TCP}}, Options{}
		var checks, redials atomic.Int32
		var redialOK atomic.Bool
		r := newRig(with, nil)
		r.check = func(context.Context, target.Address) error { checks.Add(1); return errBad }
		r.dial = func(context.Context, target.Address) error {
			if redials.Add(1); redialOK.Load() {
				return nil
			}
			return errBad
		}
		r.run(t, time.Hour, func() {
			r.target.DialFailed(errBad)
			pass(time.Minute)
			if !r.target.Unhealthy() {
				t.Fatal("not found down")
			}
			r.Reconfigure(without)
			synctest.Wait()
			if r.target.Down() {
				t.Error("down for a check that is never made")
			}
			n := checks.Load()
			pass(time.Minute)
			r.target.DialFailed(errBad)
			pass(10 * time.Second)
			if checks.Load() != n || redials.Load() == 0 || !r.target.Down() {
				t.Errorf("%d checks, %d redials, down %v", checks.Load()-n, redials.Load(), r.target.Down())
			}
			redialOK.Store(true)
			r.Reconfigure(Options{RedialDelay: 2 * time.Second}) // goes on with the redials that it has interrupted
			pass(3 * time.Second)
			if r.target.Down() {
				t.Error("not tried again")
			}
			r.target.DialFailed(errBad)
			n = redials.Load()
			r.Reconfigure(with)
			pass(time.Minute)
			if redials.Load() != n || !r.target.Unhealthy() {
				t.Errorf("%d redials, unhealthy %v", redials.Load()-n, r.target.Unhealthy())
			}
		})
	})
}

// Everything at once, for the race detector.
func TestChangesAtOnce(t *testing.T) {
	c := New(nil, Options{Check: Check{kind: TCP}, Interval: time.Millisecond})
	c.check = func(context.Context, target.Address) error { return nil }
	c.dial = c.check
	ctx, cancel := context.WithCancel(t.Context())
	var running, changing sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	targets := []*target.Target{newTarget(0), newTarget(1), newTarget(2)}
	for range 4 {
		changing.Go(func() {
			for range 200 {
				i := rand.IntN(len(targets))
				c.Watch(targets[i:])
				c.Reconfigure(Options{Check: Check{kind: []Kind{TCP, None}[rand.IntN(2)]}, Interval: time.Millisecond})
				targets[i].DialFailed(errBad)
				c.Watch(targets[:i])
			}
		})
	}
	changing.Wait()
	c.Watch(targets)
	cancel()
	running.Wait()
	c.Watch([]*target.Target{newTarget(3)}) // after the end: nothing happens
}
