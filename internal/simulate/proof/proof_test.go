package proof

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/sink"
)

// testQuiet is enough on one machine, however busy it is, as long as nothing is stalled at the
// end.
const testQuiet = 3 * time.Second

// try runs one scenario in its short form.
func try(t *testing.T, o Options, name string) Result {
	t.Helper()
	o.Short, o.Only, o.quiet = true, []string{name}, testQuiet
	results, err := Run(t.Context(), o)
	if err != nil || len(results) != 1 {
		t.Fatalf("%s: %+v, %v", name, results, err)
	}
	t.Logf("%+v", results[0])
	return results[0]
}

func TestVerdicts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	for _, test := range []struct {
		fault    string
		scenario string
		own      bool
		want     Verdict
		note     string            // part of the note
		exact    func(Result) bool // further condition; may be nil
	}{
		{fault: "", scenario: "unterminated-lines", want: OK},
		{fault: "", scenario: "connection-churn", want: OK},
		{fault: "", scenario: "crashes-unread", want: Lost, // a written line is not a delivered one
			exact: func(r Result) bool { return r.Recovery == nil }},
		{fault: drops, scenario: "connection-churn", want: Lost,
			exact: func(r Result) bool { return r.Lost == r.Sent/100 && r.Corrupt+r.Duplicated == 0 }},
		{fault: alters, scenario: "connection-churn", want: Lost, note: "altered, glued, or too long"},
		{fault: invents, scenario: "connection-churn", want: Corrupt, note: "altered, glued, or too long"},
		{fault: repeats, scenario: "connection-churn", want: OK,
			exact: func(r Result) bool { return r.Duplicated == r.Sent/10 && r.Corrupt+r.Lost == 0 }},
		{fault: tears, scenario: "unterminated-lines", want: Corrupt, note: "half a li"},
		{fault: ends, scenario: "unterminated-lines", want: Corrupt, note: "half a li"},
		{fault: dies, scenario: "connection-churn", want: Lost, note: "the proxy ended unexpectedly"},
		{fault: fails, scenario: "connection-churn", want: OK},
		{fault: fails, scenario: "connection-churn", own: true, want: Failed, note: "exit code 1"},
		{fault: "", scenario: "tls-close-unread", want: Skipped, note: "not configured for TLS"},
		{fault: "", scenario: "proxy-between", want: Skipped, note: "needs HAProxy"},
		{fault: "", scenario: "proxy-killed", want: Skipped, note: "only linesplit reports the lines that it holds"},
		{fault: "", scenario: "spool-disk-full", want: Skipped, note: "only linesplit reports the lines that it holds"},
		{fault: "", scenario: "proxy-killed", own: true, want: Failed, note: "ask the proxy for its counts"},
	} {
		t.Run(test.scenario+"/"+test.fault, func(t *testing.T) {
			t.Parallel()
			r := try(t, Options{Proxy: fakeTemplate(t, test.fault), Own: test.own}, test.scenario)
			if r.Verdict != test.want || !strings.Contains(r.Note, test.note) {
				t.Errorf("verdict %s, note %q; want %s, %q", r.Verdict, r.Note, test.want, test.note)
			}
			if r.Sent != r.ReceivedOnce+r.Lost || r.Verdict == OK && (r.Sent < 500 || r.Lost+r.Corrupt > 0) {
				t.Errorf("inconsistent numbers: %+v", r)
			}
			if test.exact != nil && !test.exact(r) {
				t.Errorf("wrong numbers: %+v", r)
			}
		})
	}
}

func TestUnstagedFaultsProveNothing(t *testing.T) {
	s := newStage(t.Context(), Options{}, scenario{}, identity{}, Progress{})
	s.recordStaged(0 > 1, "crashes: 3, with %d bytes unread", 0)
	s.recordStaged(true, "something else")
	s.fail(Failed, "later")
	r := s.result()
	if r.Verdict != Unproven || r.Staged != "" || !strings.Contains(r.Note, "with 0 bytes unread") || r.Passed() {
		t.Errorf("%+v", r)
	}
}

// Lines sent just after a fault may take longer than lines sent before it.
func TestRecoveryIsTheLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t.Context(), Options{}, scenario{}, identity{}, Progress{})
		g, reader := record.NewGenerator(1, record.Length{}), s.tally.Reader()
		send := func() { s.sent[1]++ }
		read := func() { reader.Feed(g.Append(nil, time.Now())) }
		after := func(d time.Duration) { time.Sleep(d); s.poll() }

		send()
		s.startRecovery()
		read()
		after(30 * time.Millisecond)
		if got := s.recoverySeconds(); got == nil || *got != 0.03 {
			t.Errorf("of the line before the fault: %v, want 0.03", got)
		}
		send()
		after(100 * time.Millisecond)
		if got := s.recoverySeconds(); got != nil {
			t.Errorf("with a line missing: %v, want nil", *got)
		}
		read()
		after(700 * time.Millisecond)
		send()
		after(time.Second)
		read()
		after(0)
		send() // too long after the fault to count
		after(5 * time.Second)
		if got := s.recoverySeconds(); got == nil || *got != 0.7 {
			t.Errorf("in all: %v, want 0.7", got)
		}
	})
}

func TestProxyThatDoesNotStart(t *testing.T) {
	for name, command := range map[string]string{
		"no such program": "/no/such/program {listen} {targets}",
		"ends at once":    "false {listen} {targets}",
	} {
		tmpl, err := ParseTemplate(command, "", "")
		if err != nil {
			t.Fatal(err)
		}
		results, err := Run(t.Context(), Options{Proxy: tmpl, Short: true})
		if !errors.Is(err, ErrCannotStart) || len(results) > 0 {
			t.Errorf("%s: %v, %v", name, results, err)
		}
	}
}

// Without root there is no network namespace and so no target: the scenario must not run.
func TestScenarioDoesNotRunWithoutTargets(t *testing.T) {
	ran := false
	s := scenario{name: "ran", setup: setup{tls: true}, run: func(*stage) { ran = true }}
	r, err := runScenario(t.Context(), Options{}, s, identity{}, t.TempDir(), Progress{})
	if err != nil || r.Verdict != Skipped || ran {
		t.Errorf("%+v, %v; ran: %v", r, err, ran)
	}
}

// A proxy that ends before it is told to has crashed, even if all lines have gone through.
func TestUnexpectedEndOfTheProxyFails(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	for _, own := range []bool{false, true} {
		s := newStage(t.Context(), Options{Own: own, Proxy: fakeTemplate(t, "")}.withDefaults(), scenario{},
			identity{}, Progress{})
		s.dir = t.TempDir()
		s.start()
		p := s.proxies[0]
		p.terminate()
		<-p.done
		if r := s.finish(); r.Verdict != Failed || !strings.Contains(r.Note, "the proxy ended unexpectedly") {
			t.Errorf("own %v: %+v", own, r)
		}
	}
}

// A proxy that can buffer everything does not have to cause backpressure.
func TestProxyThatBuffersPasses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	// the fake does not drain at SIGTERM
	o := Options{Proxy: fakeTemplate(t, buffers), Short: true, Only: []string{"all-stalled"}, quiet: patience}
	results, err := Run(t.Context(), o)
	if err != nil || len(results) != 1 || results[0].Verdict != OK {
		t.Errorf("%+v, %v", results, err)
	}
}

// Targets that are still paused when a scenario breaks off do not count against the proxy.
func TestScenarioThatBreaksOffRestoresTargets(t *testing.T) {
	t.Parallel()
	s := scenario{name: "breaks-off", run: func(s *stage) {
		s.startLoad(1, steadyRate)
		s.awaitLines(100)
		s.each((*sink.Sink).Pause)
		s.sleep(afterPause)
		s.recordStaged(false, "nothing")
	}}
	r, err := runScenario(t.Context(), Options{Proxy: fakeTemplate(t, buffers), quiet: patience}, s, identity{},
		t.TempDir(), Progress{})
	if err != nil || r.Verdict != Unproven || r.Lost > 0 || r.Sent < 100 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRunStopsAtTheFirstFailureWithoutKeepGoing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	o := Options{Proxy: fakeTemplate(t, drops), Short: true, Only: []string{"connection-churn", "proxy-between"},
		quiet: testQuiet}
	for _, keepGoing := range []bool{false, true} {
		o.KeepGoing = keepGoing
		done := 0
		o.Done = func(Result) { done++ }
		results, err := Run(t.Context(), o)
		if want := map[bool]int{false: 1, true: 2}[keepGoing]; err != nil || len(results) != want || done != want ||
			Passed(results) {
			t.Errorf("keep going %v: %d results, %v", keepGoing, len(results), err)
		}
	}
}

func TestInterruptedRunLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var family []string
	o := Options{Proxy: fakeTemplate(t, lingers), Short: true, Only: []string{"all-stalled"}}
	o.Progress = func(p Progress) {
		if p.Received > 0 && family == nil {
			family = familyOf(t, os.Getpid())
			cancel()
		}
	}
	began := time.Now()
	results, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || len(results) != 1 || results[0].Verdict != Cancelled {
		t.Errorf("%+v, %v", results, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if len(family) != 2 {
		t.Errorf("while it ran there were the processes %v, want the proxy and its child", family)
	}
	for _, pid := range family {
		if status, err := os.ReadFile("/proc/" + pid + "/status"); err == nil &&
			!strings.Contains(string(status), "State:\tZ") {
			t.Errorf("process left behind:\n%s", status)
		}
	}
}

// familyOf returns the children of a process and their descendants: all processes in the process
// groups that the children lead.
func familyOf(t *testing.T, parent int) (all []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]string{} // by process
	var ours []string
	for _, stat := range stats {
		text, _ := os.ReadFile(stat) // nothing if the process has ended
		_, after, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(after) // state, parent, group, ...
		if len(fields) < 3 || fields[0] == "Z" {
			continue
		}
		pid := filepath.Base(filepath.Dir(stat))
		groups[pid] = fields[2]
		if fields[1] == strconv.Itoa(parent) && fields[2] == pid {
			ours = append(ours, pid)
		}
	}
	for pid, group := range groups {
		if slices.Contains(ours, group) {
			all = append(all, pid)
		}
	}
	return all
}

func TestScenarioNames(t *testing.T) {
	var names []string
	for _, s := range Scenarios() {
		if s.About == "" || slices.Contains(names, s.Name) {
			t.Errorf("%+v", s)
		}
		names = append(names, s.Name)
	}
	if err := CheckNames(names); err != nil {
		t.Error(err)
	}
	if err := CheckNames([]string{"crashes-unread", "tornado", ""}); err == nil ||
		strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error = %v", err)
	}
	if _, err := Run(t.Context(), Options{Only: []string{"tornado"}}); err == nil {
		t.Error("runs a scenario that does not exist")
	}
}
