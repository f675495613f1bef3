package health

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Without active checks a target that dials have marked down is dialled, more and more rarely,
// until it answers.
func TestRedials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 6
		r := newRig(Options{RedialDelay: time.Second}, func(_ context.Context, n int) error {
			if n <= failures {
				return errBad
			}
			return nil
		})
		r.target.SetFall(3)
		r.run(t, time.Hour, func() {
			time.Sleep(10 * time.Minute)
			r.target.DialFailed(errBad)
			r.target.DialFailed(errBad)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if len(r.checked) > 0 {
				t.Error("a redial of a target that is not down")
			}
			r.target.DialFailed(errBad)
			if time.Sleep(30 * time.Second); !r.target.Down() {
				t.Error("up after failed redials")
			}
			if time.Sleep(30 * time.Second); r.target.Down() {
				t.Error("down after a redial that succeeded")
			}
		})
		if len(r.checked) != failures+1 || r.target.DialErrors() != 3+failures {
			t.Errorf("%d redials, %d dial errors", len(r.checked), r.target.DialErrors())
		}
		for n, want := range map[int]time.Duration{2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 8 * time.Second, 7: 8 * time.Second} {
			if !about(r.gap(n), want) {
				t.Errorf("%v before redial %d, want about %v", r.gap(n), n, want)
			}
		}
	})
}

// A client's dial that succeeds ends the redials; the next failure begins them anew.
func TestRedialsEndWithASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{}, func(context.Context, int) error { return errBad })
		r.run(t, time.Hour, func() {
			r.target.DialFailed(errBad)
			time.Sleep(1500 * time.Millisecond)
			r.target.DialSucceeded()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if len(r.checked) != 1 {
				t.Errorf("%d redials, want 1", len(r.checked))
			}
			r.target.DialFailed(errBad)
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			if len(r.checked) != 2 {
				t.Errorf("%d redials, want 2", len(r.checked))
			}
			r.target.DialSucceeded()
		})
	})
}
