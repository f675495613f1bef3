package health

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"linesplit/target"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "16") // those in parallel wait for time to pass, not for processors; the command line wins
	goleak.VerifyTestMain(m)
}

var errBad = errors.New("bad")

func TestVerdict(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		results    string // + good, - bad
		states     string // after each: U, D; u, d while results are against it
	}{
		{"good", 2, 3, "++++", "UUUU"},
		{"down after three in a row", 2, 3, "---", "uuD"},
		{"isolated failures", 2, 3, "-+-+-+-+-+", "uUuUuUuUuU"},
		{"two in a row, again and again", 2, 3, "--+--+--+", "uuUuuUuuU"},
		{"up after two in a row", 2, 3, "---++", "uuDdU"},
		{"isolated successes", 2, 3, "---+-+-+--++", "uuDdDdDdDDdU"},
		{"at once", 1, 1, "-+-+", "DUDU"},
		{"slow to rise", 4, 1, "-+++-++++", "DdddDdddU"},
		{"flapping at its fastest", 2, 2, "--++--++", "uDdUuDdU"},
	}
	for _, test := range tests {
		v := verdict{up: true, rise: test.rise, fall: test.fall}
		var states []byte
		for _, result := range test.results {
			v.add(result == '+')
			state := map[bool]byte{true: 'U', false: 'D'}[v.up]
			if v.turning() {
				state += 'a' - 'A'
			}
			states = append(states, state)
		}
		if string(states) != test.states {
			t.Errorf("%s: %s gave %s, want %s", test.name, test.results, states, test.states)
		}
	}
}

// The verdict against a naive reading of the results.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 1}, uint8(2), uint8(3))
	f.Fuzz(func(t *testing.T, results []byte, rise, fall uint8) {
		v := verdict{up: true, rise: max(1, int(rise)), fall: max(1, int(fall))}
		up := true
		for i := range results {
			good := results[i]&1 == 1
			v.add(good)
			needed := v.fall
			if good {
				needed = v.rise
			}
			if row(results[:i+1]) >= needed {
				up = good
			}
			if v.up != up {
				t.Fatalf("up %v after %v, want %v", v.up, results[:i+1], up)
			}
		}
	})
}

// row counts the equal results at the end.
func row(results []byte) int {
	n := 0
	for n < len(results) && results[len(results)-1-n]&1 == results[len(results)-1]&1 {
		n++
	}
	return n
}

// rig is a checker whose checks and trials are the test's.
type rig struct {
	*Checker
	target  *target.Target
	begun   time.Time
	checked []time.Duration // when each began, since begun
}

func newRig(o Options, result func(ctx context.Context, n int) error) *rig {
	r := &rig{target: target.New(target.Address{Scheme: target.SchemeTCP, Host: "h:1"}, nil), begun: time.Now()}
	r.Checker = New([]*target.Target{r.target}, o)
	r.check = func(ctx context.Context, _ target.Address) error {
		r.checked = append(r.checked, time.Since(r.begun))
		return result(ctx, len(r.checked))
	}
	r.dial = r.check
	return r
}

// run runs the checker for d.
func (r *rig) run(t *testing.T, d time.Duration, meanwhile func()) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	if meanwhile != nil {
		meanwhile()
	}
	<-ended
}

// gap is how long the n-th check (from 1) came after the one before it.
func (r *rig) gap(n int) time.Duration { return r.checked[n-1] - r.checked[n-2] }

// about says whether d is want, give or take the jitter.
func about(d, want time.Duration) bool { return d >= want*89/100 && d <= want*111/100 }

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

// Waits differ from each other and lie within the jitter; very short intervals get no hurry.
func TestJitter(t *testing.T) {
	for interval, fast := range map[time.Duration]time.Duration{
		5 * time.Second:        time.Second,
		300 * time.Millisecond: minInterval,
		50 * time.Millisecond:  50 * time.Millisecond,
	} {
		c := New(nil, Options{Interval: interval})
		w := watcher{Checker: c, target: target.New(target.Address{}, nil), set: c.settings.Load(), verdict: verdict{up: true}, known: true}
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
			t.Errorf("waits %v in a hurry, want %v", w.interval(), fast)
		}
	}
}

// However a target flaps, it goes down only after Fall failures in a row and up only after Rise successes in a row.
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
		if got := ours(err); got != want {
			t.Errorf("ours(%v) = %v", err, got)
		}
	}
}

// Without active checks a target that dials have marked down is dialled, more and more rarely, until it answers.
func TestTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 6
		r := newRig(Options{Trial: time.Second}, func(_ context.Context, n int) error {
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
				t.Error("a trial of a target that is not down")
			}
			r.target.DialFailed(errBad)
			if time.Sleep(30 * time.Second); !r.target.Down() {
				t.Error("up after failed trials")
			}
			if time.Sleep(30 * time.Second); r.target.Down() {
				t.Error("down after a trial that succeeded")
			}
		})
		if len(r.checked) != failures+1 || r.target.DialErrors() != 3+failures {
			t.Errorf("%d trials, %d dial errors", len(r.checked), r.target.DialErrors())
		}
		for n, want := range map[int]time.Duration{2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 8 * time.Second, 7: 8 * time.Second} {
			if !about(r.gap(n), want) {
				t.Errorf("%v before trial %d, want about %v", r.gap(n), n, want)
			}
		}
	})
}

// A client's dial that succeeds ends the trials; the next failure begins them anew.
func TestTrialsEndWithASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{}, func(context.Context, int) error { return errBad })
		r.run(t, time.Hour, func() {
			r.target.DialFailed(errBad)
			time.Sleep(1500 * time.Millisecond)
			r.target.DialSucceeded()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if len(r.checked) != 1 {
				t.Errorf("%d trials, want 1", len(r.checked))
			}
			r.target.DialFailed(errBad)
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			if len(r.checked) != 2 {
				t.Errorf("%d trials, want 2", len(r.checked))
			}
			r.target.DialSucceeded()
		})
	})
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
