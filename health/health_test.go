package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

func TestIntervals(t *testing.T) {
	const usual, fast = 5 * time.Second, time.Second
	synctest.Test(t, func(t *testing.T) {
		bad := map[int]bool{3: true, 6: true, 7: true, 8: true, 9: true, 11: true}
		down := map[int]bool{9: true, 10: true, 11: true, 12: true, 13: true} // before the n-th check
		var r *rig
		r = newRig(Options{Check: Check{kind: TCP}}, func(_ context.Context, n int) error {
			if r.target.Down() != down[n] || r.target.Unhealthy() != down[n] {
				t.Errorf("before check %d: down %v, ejected %v, want %v", n, r.target.Down(), r.target.Unhealthy(), down[n])
			}
			if bad[n] {
				return errBad
			}
			return nil
		})
		r.run(t, 55*time.Second, nil)
		if first := r.checked[0]; first > fast {
			t.Errorf("the first check came after %v", first)
		}
		for n, want := range map[int]time.Duration{
			2: usual,
			3: usual, 4: fast, // after one failure
			5: usual, 6: usual,
			7: fast, 8: fast, 9: usual, // down now
			10: usual, 11: fast, // one good, one bad
			12: usual, 13: fast, 14: usual, // up again
		} {
			if n > len(r.checked) {
				t.Fatalf("%d checks in 55 s", len(r.checked))
			}
			if got := r.gap(n); !about(got, want) {
				t.Errorf("%v before check %d, want about %v", got, n, want)
			}
		}
	})
}

// Waits differ from each other and lie within the jitter; very short intervals are not divided.
func TestJitter(t *testing.T) {
	for interval, fast := range map[time.Duration]time.Duration{
		5 * time.Second:        time.Second,
		300 * time.Millisecond: minInterval,
		50 * time.Millisecond:  50 * time.Millisecond,
	} {
		c := New(nil, Options{Interval: interval})
		w := watcher{Checker: c, target: target.New(target.Address{}, nil), set: c.settings.Load(), verdict: verdict{up: true}, checked: true}
		seen := make(map[time.Duration]bool)
		for range 100 {
			d := w.interval()
			seen[d] = true
			if !about(d, interval) {
				t.Fatalf("waits %v, want about %v", d, interval)
			}
		}
		if len(seen) < 90 {
			t.Errorf("only %d different waits of 100", len(seen))
		}
		if w.verdict.against = 1; !about(w.interval(), fast) {
			t.Errorf("waits %v while the state is about to change, want %v", w.interval(), fast)
		}
	}
}

// However a target flaps, it goes down only after Fall failures in a row and up only after Rise
// successes in a row.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var results []byte
		up := true
		var r *rig
		r = newRig(Options{Check: Check{kind: TCP}, Rise: 2, Fall: 3}, func(context.Context, int) error {
			if r.target.Down() == up {
				t.Errorf("down %v after %v", r.target.Down(), results)
			}
			good := byte(rand.IntN(2))
			results = append(results, good)
			if row(results) >= 3-int(good) {
				up = good == 1
			}
			if good == 1 {
				return nil
			}
			return errBad
		})
		r.run(t, 10*time.Minute, nil)
		if len(results) < 100 {
			t.Errorf("%d checks in 10 minutes", len(results))
		}
	})
}

// A check that hangs has failed when its time is up, and the next one waits for that.
func TestCheckTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var observed []bool
		r := newRig(Options{Check: Check{kind: TCP}, Fall: 2, Timeout: 2 * time.Second, Observe: func(_ *target.Target, ok bool, took time.Duration) {
			if observed = append(observed, ok); took != 2*time.Second {
				t.Errorf("took %v", took)
			}
		}}, func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		})
		r.run(t, 7*time.Second, nil)
		if !r.target.Unhealthy() || len(observed) != 2 || observed[0] || observed[1] {
			t.Errorf("ejected %v after %v", r.target.Unhealthy(), observed)
		}
		if !about(r.gap(2), 3*time.Second) {
			t.Errorf("%v between checks that take 2 s", r.gap(2))
		}
	})
}

// The end of the run is no failure of the target that is being checked.
func TestRunEndsDuringACheck(t *testing.T) {
	for _, kind := range []Kind{TCP, None} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(Options{Check: Check{kind: kind}, Fall: 1, Timeout: time.Hour, Observe: func(*target.Target, bool, time.Duration) { t.Error("counted") }},
				func(ctx context.Context, _ int) error {
					<-ctx.Done()
					return ctx.Err()
				})
			if kind == None {
				r.target.DialFailed(errBad)
			}
			r.run(t, 10*time.Second, nil)
			if len(r.checked) != 1 || r.target.Unhealthy() || r.target.DialErrors() > 1 {
				t.Errorf("%d checks, ejected %v, %d dial errors", len(r.checked), r.target.Unhealthy(), r.target.DialErrors())
			}
		})
	}
}

// Failed dials bring the next check forward, and its success is the target's rise.
func TestFailedDialsHurryTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{Check: Check{kind: TCP}, Interval: time.Hour}, func(context.Context, int) error { return nil })
		r.run(t, 90*time.Minute, func() {
			time.Sleep(40 * time.Minute)
			r.target.DialFailed(errBad)
			time.Sleep(11 * time.Minute)
			if !r.target.Down() {
				t.Error("up before the check")
			}
			time.Sleep(2 * time.Minute)
			if r.target.Down() {
				t.Error("down after the check")
			}
		})
	})
}

// A lack of our own resources says nothing about a target.
func TestChecksThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noFiles := &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		var results []error
		r := newRig(Options{Check: Check{kind: TCP}, Fall: 2, Observe: func(*target.Target, bool, time.Duration) { t.Error("counted") }},
			func(context.Context, int) error {
				results = append(results, noFiles)
				return fmt.Errorf("tcp check: %w", noFiles)
			})
		r.run(t, time.Minute, nil)
		if r.target.Down() || len(results) < 10 {
			t.Errorf("down %v after %d checks without descriptors", r.target.Down(), len(results))
		}
	})
	for err, want := range map[error]bool{
		nil: false, errBad: false, syscall.ECONNREFUSED: false, syscall.EAGAIN: false, os.ErrDeadlineExceeded: false,
		syscall.ENFILE: true, syscall.EADDRNOTAVAIL: true, &startError{syscall.EAGAIN}: true, &startError{syscall.ENOENT}: false,
	} {
		if got := isLocalError(err); got != want {
			t.Errorf("isLocalError(%v) = %v", err, got)
		}
	}
}

// What there is to do depends on the check and on the target.
func TestWhoIsCheckedHow(t *testing.T) {
	const checked, tried = 1, 2
	for _, test := range []struct {
		kind   Kind
		scheme string
		want   int
	}{
		{None, target.SchemeTCP, tried}, {None, target.SchemeUnix, tried}, {None, target.SchemeTLS, tried}, {None, target.SchemeUDP, tried},
		{TCP, target.SchemeTCP, checked}, {TCP, target.SchemeUDP, tried}, {HTTP, target.SchemeUDP, tried},
		{Exec, target.SchemeUDP, checked}, {Exec, target.SchemeUnix, checked},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := target.New(target.Address{Scheme: test.scheme, Host: "h:1"}, nil)
			x.DialFailed(errBad)
			c := New([]*target.Target{x}, Options{Check: Check{kind: test.kind}})
			var did int
			c.check = func(context.Context, target.Address) error { did |= checked; return nil }
			c.dial = func(context.Context, target.Address) error { did |= tried; return nil }
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if c.Run(ctx); did != test.want {
				t.Errorf("%q check of a %s target: did %d, want %d", test.kind, test.scheme, did, test.want)
			}
		})
	}
}
