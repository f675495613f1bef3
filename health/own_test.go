package health

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

// A target with an interval, rise and fall of its own is checked by these, and others are not.
func TestTargetsOwnIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := target.New(target.Address{Host: "own:1", HealthInterval: time.Second, Rise: 1, Fall: 4}, nil)
		other := target.New(target.Address{Host: "other:1"}, nil)
		var checkedOwn, checkedOther atomic.Int32
		var bad atomic.Bool
		c := New([]*target.Target{own, other}, Options{Check: Check{kind: TCP}, Interval: 10 * time.Second, Rise: 2, Fall: 2})
		c.check = func(_ context.Context, a target.Address) error {
			if a == own.Address {
				checkedOwn.Add(1)
			} else {
				checkedOther.Add(1)
			}
			if bad.Load() {
				return errBad
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		sleepWhile := func(d time.Duration) (down [2]time.Duration) {
			for passed := time.Duration(0); passed < d; passed += 10 * time.Millisecond {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				for i, x := range []*target.Target{own, other} {
					if x.Down() != bad.Load() {
						down[i] = passed
					}
				}
			}
			return down
		}
		sleepWhile(time.Minute)
		if n := []int32{checkedOwn.Load(), checkedOther.Load()}; n[0] < 50 || n[0] > 72 || n[1] < 5 || n[1] > 9 {
			t.Errorf("checks in a minute: %v", n)
		}
		bad.Store(true)
		before := checkedOwn.Load()
		took := sleepWhile(time.Minute)
		// Four failures, the last three 200 ms apart; two failures, 2 s apart.
		if n := checkedOwn.Load() - before; took[0] < 500*time.Millisecond || took[0] > 2*time.Second || took[1] < 1700*time.Millisecond || took[1] > 14*time.Second {
			t.Errorf("down after %v, %d checks", took, n)
		}
		bad.Store(false)
		if took := sleepWhile(time.Minute); took[0] > 1200*time.Millisecond || took[1] < 1700*time.Millisecond {
			t.Errorf("up again after %v", took)
		}
		cancel()
		<-done
		if slices.Contains([]bool{own.Down(), other.Down()}, true) {
			t.Error("one is down")
		}
	})
}
