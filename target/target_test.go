package target

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func named(names ...string) Set {
	var s Set
	for _, name := range names {
		s = append(s, New(Address{Scheme: SchemeTCP, Host: name + ":1"}, nil))
	}
	return s
}

func TestOther(t *testing.T) {
	const (
		idle       = iota // no connection and no dial yet
		confirming        // connected, and all connections make progress
		stuck             // two connections, one of them stuck
		down              // the last dial failed
	)
	tests := []struct {
		name       string
		states     []int
		than       int
		other      []int // the targets that Other may return; nil: none
		confirming []int // the targets that OtherConfirming may return; nil: none
		stalled    bool  // OthersStalled
	}{
		{"alone, and stuck", []int{stuck}, 0, nil, nil, false},
		{"alone", []int{confirming}, 0, nil, nil, false},
		{"never the given one", []int{confirming, idle}, 0, []int{1}, nil, false},
		{"all idle", []int{idle, idle, idle}, 1, []int{0, 2}, nil, false},
		{"never one that is down", []int{idle, down, idle}, 0, []int{2}, nil, false},
		{"all others down", []int{confirming, down, down}, 0, nil, nil, false},
		{"confirming targets first", []int{idle, idle, confirming, stuck}, 0, []int{2}, []int{2}, false},
		{"a stuck target rather than none", []int{confirming, stuck, down}, 0, []int{1}, nil, true},
		{"stuck and idle targets alike", []int{confirming, stuck, idle}, 0, []int{1, 2}, nil, true},
		{"the given one may be down", []int{down, confirming, confirming}, 0, []int{1, 2}, []int{1, 2}, false},
		{"many", []int{confirming, confirming, confirming, confirming, confirming, down, idle}, 2,
			[]int{0, 1, 3, 4}, []int{0, 1, 3, 4}, false},
	}
	for _, test := range tests {
		s := named("a", "b", "c", "d", "e", "f", "g")[:len(test.states)]
		for i, state := range test.states {
			switch state {
			case confirming:
				s[i].Joined()
			case stuck:
				s[i].Joined()
				s[i].Joined()
				s[i].Stuck(1)
			case down:
				s[i].Joined() // an older connection may live on
				s[i].DialFailed(errors.New("refused"))
			}
		}
		checkChoice(t, test.name+": Other", s, test.other, func() *Target { return s.Other(s[test.than], rand.IntN) })
		checkChoice(t, test.name+": OtherConfirming", s, test.confirming, func() *Target {
			return s.OtherConfirming(s[test.than], 0, rand.IntN)
		})
		if got := s.OthersStalled(s[test.than]); got != test.stalled {
			t.Errorf("%s: OthersStalled() = %v", test.name, got)
		}
	}
}

// checkChoice draws many times and requires that each allowed target is drawn about equally often,
// and no other. The bounds are eight standard deviations wide.
func checkChoice(t *testing.T, name string, s Set, allowed []int, draw func() *Target) {
	t.Helper()
	const draws = 4000
	count := make(map[*Target]int)
	for range draws {
		count[draw()]++
	}
	if len(allowed) == 0 {
		if count[nil] != draws {
			t.Errorf("%s: drew %v, want none", name, count)
		}
		return
	}
	for _, i := range allowed {
		want := draws / len(allowed)
		if n := count[s[i]]; n < want-250 || n > want+250 {
			t.Errorf("%s: %v was drawn %d times of %d, want about %d", name, s[i], n, draws, want)
		}
		delete(count, s[i])
	}
	for other, n := range count {
		t.Errorf("%s: %v was drawn %d times", name, other, n)
	}
}

func TestOtherThanNone(t *testing.T) {
	s := named("a")
	if got := s.Other(nil, rand.IntN); got != s[0] {
		t.Errorf("Other(nil) = %v", got)
	}
	if got := Set(nil).Other(nil, rand.IntN); got != nil {
		t.Errorf("of no targets: %v", got)
	}
}

func TestConfirming(t *testing.T) {
	x := named("a")[0]
	check := func(want bool) {
		t.Helper()
		if got := x.Confirming(0); got != want {
			t.Errorf("Confirming() = %v with %d connections", got, x.Connections())
		}
	}
	check(false)
	x.Joined()
	check(true)
	x.Joined()
	x.Stuck(1)
	check(false)
	x.Stuck(-1)
	check(true)
	x.Left()
	check(true)
	x.Left()
	check(false)
}

// A change of state is logged at once; repeated failures are logged together every 30 s.
func TestTargetLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := Address{Scheme: SchemeTCP, Host: "h:1", ViaProxy: true}
		x := New(a, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})))
		refused := errors.New("refused")
		const common = ` target="tcp://h:1?via-proxy=true"`
		step := func(what string, act func(), want string) {
			t.Helper()
			out.Reset()
			act()
			if got := strings.TrimSuffix(out.String(), "\n"); got != want {
				t.Errorf("%s: logged\n\t%s\nwant\n\t%s", what, got, want)
			}
		}
		fail := func() { x.DialFailed(refused) }

		step("first success", x.DialSucceeded, `level=INFO msg="target up"`+common)
		step("more of it", x.DialSucceeded, "")
		step("first failure", fail, `level=WARN msg="target down"`+common+` err=refused`)
		if !x.Down() {
			t.Error("not down after a failed dial")
		}
		step("repeated failures", func() {
			for range 29 {
				time.Sleep(time.Second)
				fail()
			}
			time.Sleep(time.Second - 1)
			fail()
		}, "")
		time.Sleep(time.Nanosecond)
		step("after 30 s", fail, `level=WARN msg="target still down"`+common+` err=refused down_for=30s failed_dials=32`)
		step("right after", fail, "")
		time.Sleep(45 * time.Second)
		step("the next attempt after 30 s more", fail,
			`level=WARN msg="target still down"`+common+` err=refused down_for=1m15s failed_dials=34`)
		time.Sleep(29 * time.Second)
		step("29 s after that", fail, "")
		time.Sleep(1500 * time.Millisecond)
		step("success", x.DialSucceeded, `level=INFO msg="target up again"`+common+` down_for=1m45.5s failed_dials=35`)
		if x.Down() {
			t.Error("down after a dial that succeeded")
		}
		step("more success", x.DialSucceeded, "")
		step("a new failure starts anew", fail, `level=WARN msg="target down"`+common+` err=refused`)
		step("and ends", x.DialSucceeded, `level=INFO msg="target up again"`+common+` down_for=0s failed_dials=1`)
		if got := x.DialErrors(); got != 36 {
			t.Errorf("DialErrors() = %d, want 36", got)
		}
	})
}

// A target that accepts and resets in a loop is down and up again dozens of times a second. With
// hundreds of workers that made 35 to 60 lines of log a second.
func TestFlappingTargetIsLoggedInSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		x := New(Address{Scheme: SchemeTCP, Host: "h:1"}, slog.New(slog.NewTextHandler(&out, nil)))
		x.DialSucceeded()
		out.Reset()
		for range 3000 { // in 10 s minus the last pause
			x.DialFailed(errors.New("refused"))
			x.DialSucceeded()
			time.Sleep(time.Second / 300)
		}
		x.DialFailed(errors.New("refused"))
		x.FlushLog()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		last := lines[len(lines)-1]
		if len(lines) != changesBurst+1 || !strings.Contains(last, `msg="target down"`) || !strings.Contains(last, "count=5993") {
			t.Errorf("%d lines, want %d at once and the state at the end:\n%s", len(lines), changesBurst, &out)
		}
	})
}

func TestFirstDialFails(t *testing.T) {
	var out bytes.Buffer
	x := New(Address{Scheme: SchemeUnix, Host: "@x"}, slog.New(slog.NewTextHandler(&out, nil)))
	if x.Down() {
		t.Error("down before anything is known")
	}
	x.DialFailed(errors.New("no such file"))
	x.DialSucceeded()
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("%d lines logged, want one for down and one for up:\n%s", got, &out)
	}
	if x.String() != "unix://@x" {
		t.Errorf("String() = %q", x)
	}
}

// Isolated failed dials do not mark a target down; a row of them does, and sends one message on
// Failed.
func TestFailedDialsInARowMarkTheTargetDown(t *testing.T) {
	x := named("a")[0]
	x.SetFall(3)
	fail := func(times int) {
		for range times {
			x.DialFailed(errors.New("refused"))
		}
	}
	for range 10 {
		fail(2)
		x.DialSucceeded()
	}
	fail(2)
	if x.Down() || len(x.Failed()) > 0 {
		t.Error("down without three failures in a row")
	}
	fail(1)
	if !x.Down() || x.Unhealthy() || len(x.Failed()) != 1 {
		t.Errorf("after three failures: down %v, unhealthy %v, %d messages", x.Down(), x.Unhealthy(), len(x.Failed()))
	}
	<-x.Failed()
	fail(5)
	if len(x.Failed()) > 0 {
		t.Error("a second message for a target that was down already")
	}
	x.DialSucceeded()
	if x.Down() {
		t.Error("down after a dial that succeeded")
	}
	if fail(3); !x.Down() || len(x.Failed()) != 1 {
		t.Error("three more failures do not mark it down again")
	}
	if got := x.DialErrors(); got != 31 {
		t.Errorf("DialErrors() = %d, want 31", got)
	}
}

// The result of a check holds whatever dials report, and replaces what they reported before.
func TestTargetChecks(t *testing.T) {
	bad := errors.New("bad")
	tests := []struct {
		name            string
		steps           string // d, D: dial failed, succeeded; c, C: check found the target down, up
		down, unhealthy bool
		message         bool // on Failed
	}{
		{"nothing known", "", false, false, false},
		{"check finds it up", "C", false, false, false},
		{"check finds it down", "c", true, true, false},
		{"no dial changes that", "cDD", true, true, false},
		{"only a check does", "cDC", false, false, false},
		{"a check overrides earlier dials", "dC", false, false, true},
		{"a check overrides dials between checks", "cddC", false, false, false},
		{"a dial, then a check", "dc", true, true, true},
		{"a successful dial does not override a check", "dcD", true, true, true},
		{"a failed dial after good checks", "CCCd", true, false, true},
		{"all of these in a row", "dcDCcCd", true, false, true},
	}
	for _, test := range tests {
		x := named("a")[0]
		for _, step := range test.steps {
			switch step {
			case 'd':
				x.DialFailed(bad)
			case 'D':
				x.DialSucceeded()
			case 'c':
				x.CheckedDown(bad)
			case 'C':
				x.CheckedUp()
			}
		}
		if x.Down() != test.down || x.Unhealthy() != test.unhealthy || len(x.Failed()) == 1 != test.message {
			t.Errorf("%s: down %v, unhealthy %v, %d messages; want %v, %v, %v",
				test.name, x.Down(), x.Unhealthy(), len(x.Failed()), test.down, test.unhealthy, test.message)
		}
	}
}

// Checks log changes of state as dials do, and nothing else.
func TestTargetCheckLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		x := New(Address{Scheme: SchemeTCP, Host: "h:1"}, slog.New(slog.NewTextHandler(&out, nil)))
		step := func(what string, act func(), wants ...string) {
			t.Helper()
			out.Reset()
			act()
			got := out.String()
			if len(wants) == 0 && got != "" {
				t.Errorf("%s: logged %s", what, got)
			}
			for _, want := range wants {
				if strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
					t.Errorf("%s: logged %q, want one line with %q", what, got, want)
				}
			}
		}
		refused := func() { x.DialFailed(errors.New("refused")) }
		timedOut := func() { x.CheckedDown(errors.New("timeout")) }
		step("first check", x.CheckedUp, `msg="target up"`)
		step("first dial after it", x.DialSucceeded)
		step("failed dial", refused, `msg="target down"`, "err=refused")
		step("the check agrees", timedOut)
		time.Sleep(10 * time.Second)
		step("a dial succeeds meanwhile", x.DialSucceeded)
		step("and fails", refused)
		time.Sleep(20 * time.Second)
		step("after 30 s", timedOut,
			`msg="target still down"`, "err=timeout", "down_for=30s", "failed_dials=2", "failed_checks=2")
		step("the check finds it up", x.CheckedUp, `msg="target up again"`, "down_for=30s", "failed_checks=2")
		step("again", x.CheckedUp)
		step("down by the check", timedOut, `msg="target down"`, "err=timeout")
		step("up by the check", x.CheckedUp, `msg="target up again"`, "failed_dials=0", "failed_checks=1")
	})
}

// This test calls all methods at once, for the race detector.
func TestTargetConcurrently(t *testing.T) {
	x := named("a")[0]
	x.SetFall(2)
	var all sync.WaitGroup
	for _, act := range []func(){
		x.DialSucceeded, x.CheckedUp,
		func() { x.Down() }, func() { x.Unhealthy() }, func() { x.DialErrors() }, func() { x.Status() },
		func() { x.ConnectionFailed(errors.New("reset")) },
		func() { x.DialFailed(errors.New("refused")) }, func() { x.CheckedDown(errors.New("timeout")) },
		func() {
			select {
			case <-x.Failed():
			default:
			}
		},
	} {
		all.Go(func() {
			for range 500 {
				act()
			}
		})
	}
	all.Wait()
	if x.CheckedUp(); x.Down() || x.Unhealthy() {
		t.Error("down after CheckedUp")
	}
}

// Since is when the state began, however often it is confirmed, and the last error stays after a
// recovery.
func TestTargetStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := named("a")[0]
		x.SetFall(2)
		made := time.Now()
		check := func(what, state string, since time.Time, err string, at time.Time) {
			t.Helper()
			if got, want := x.Status(), (Status{state, since, err, at}); got != want {
				t.Errorf("%s:\n%+v, want\n%+v", what, got, want)
			}
			time.Sleep(time.Second)
		}
		check("new", StateUnknown, made, "", time.Time{})
		x.DialFailed(errors.New("refused"))
		first := time.Now()
		check("one failure of two", StateUnknown, made, "refused", first)
		x.DialSucceeded()
		up := time.Now()
		check("up", StateUp, up, "refused", first)
		x.DialSucceeded()
		check("still up", StateUp, up, "refused", first)
		x.ConnectionFailed(errors.New("reset"))
		reset := time.Now()
		check("a connection failed", StateUp, up, "reset", reset)
		x.DialFailed(errors.New("refused"))
		time.Sleep(time.Second)
		x.DialFailed(errors.New("refused again"))
		down := time.Now()
		check("down", StateDown, down, "refused again", down)
		x.CheckedDown(errors.New("timeout"))
		checked := time.Now()
		check("down by a check too", StateDown, down, "timeout", checked)
		x.DialSucceeded()
		check("down by the check alone", StateDown, down, "timeout", checked)
		x.CheckedUp()
		check("up again", StateUp, time.Now(), "timeout", checked)
	})
}
