//go:build linux

package section

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// TestMain lets the test binary take the roles that the program takes as its own child.
func TestMain(m *testing.M) {
	if load.Play(contender.Roles(), os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

func testBench(t *testing.T) *Bench {
	lockThread(t)
	b := New(contender.Launcher{Threads: 1, Dir: t.TempDir()}, Options{Reps: 1, Log: io.Discard, Progress: noProgress{}})
	b.size = sizes{line: 600, rate: 2000, seconds: 1, check: 1e6, bulk: 5e6, calls: 200, trips: 500, idle: 40, settle: 100 * time.Millisecond}
	var err error
	if b.Certs, err = load.MakeCertificates(b.Dir); err != nil {
		t.Fatal(err)
	}
	return b
}

// lockThread keeps a test on one thread: children die with the thread that started them.
func lockThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

type noProgress struct{}

func (noProgress) Step(float64) {}

func (noProgress) String() string { return "" }

// testProxies gives a bench the proxies that are here. io.Copy always is; linesplit itself has tests of its own.
func testProxies(t *testing.T) *Bench {
	b := testBench(t)
	b.Programs = contender.FindPrograms(t.Context(), func(err error) { t.Logf("%v: tested without it", err) })
	return b
}

// without returns names without one.
func without(names []string, name string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return n == name })
}

func TestTransferWithoutProxy(t *testing.T) {
	b := testBench(t)
	for _, verify := range []bool{true, false} {
		spec := load.Transfer{Senders: 5, Targets: 2, Line: 600, Verify: verify}.Lessen(20e6)
		r, err := b.transfer(t.Context(), contender.Setup{Name: contender.Direct}, spec)
		if err != nil || r.seconds <= 0 {
			t.Errorf("verify %v: %+v, %v", verify, r, err)
		}
	}
}

func TestLatencyWithoutProxy(t *testing.T) {
	p, err := testBench(t).latencyRun(t.Context(), contender.Setup{Name: contender.Direct})
	if err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
		t.Errorf("p50, p99, p99.9 = %v, %v", p, err)
	}
}

func TestForwarders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	b := testProxies(t)
	for _, name := range append(without(b.forwarders(), contender.Relaying), b.Present(contender.Splicing)...) {
		t.Run(name, func(t *testing.T) {
			s := contender.Setup{Name: name}
			testTransfer(t, b, s, 600)
			if seconds, cpu, err := b.connectionsRun(t.Context(), s, b.callsOf(name)); err != nil || seconds <= 0 || cpu < 0 {
				t.Errorf("connections: %v s, %v CPU s, %v", seconds, cpu, err)
			}
			if p, err := b.roundtripRun(t.Context(), s); err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
				t.Errorf("round trip: p50, p99, p99.9 = %v, %v", p, err)
			}
			if name == contender.Direct {
				return
			}
			if grown, err := b.idleRun(t.Context(), s, b.held(name), false); err != nil || len(grown) != 1 {
				t.Errorf("idle pairs: %v KB, %v", grown, err)
			}
		})
	}
}

// rsyslog carries lines alone; the others have been tested as forwarders.
func TestRsyslog(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	b := testProxies(t)
	if !b.Here(contender.Rsyslog) {
		t.Skip("rsyslogd is not here")
	}
	s := contender.Setup{Name: contender.Rsyslog}
	testTransfer(t, b, s, 100, 600, 64<<10)
	if p, err := b.latencyRun(t.Context(), s); err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
		t.Errorf("p50, p99, p99.9 = %v, %v", p, err)
	}
	if grown, err := b.idleRun(t.Context(), s, b.held(contender.Rsyslog), true); err != nil || len(grown) != 2 {
		t.Errorf("idle: %v KB, %v", grown, err)
	}
}

// testTransfer moves some bytes, every line looked at.
func testTransfer(t *testing.T, b *Bench, s contender.Setup, lines ...int) {
	t.Helper()
	for _, line := range lines {
		spec := load.Transfer{Senders: 3, Targets: 2, Line: line, Verify: true}.Lessen(5e6)
		r, err := b.transfer(t.Context(), s, spec)
		if err != nil || r.seconds <= 0 || s.Name != contender.Direct && r.peak < 100<<10 {
			t.Errorf("%s, lines of %d bytes, %v: %+v, %v", s.Name, line, s.TLS, r, err)
		}
	}
}

func TestTLS(t *testing.T) {
	b := testProxies(t)
	testTransfer(t, b, contender.Setup{Name: contender.Direct, TLS: contender.Legs{In: true, Out: true}}, 100, 600, 64<<10)
	for _, way := range tlsWays {
		for _, name := range b.Present(contender.HAProxy, contender.Nginx) {
			testTransfer(t, b, contender.Setup{Name: name, TLS: way}, 600)
		}
	}
}

func TestGlances(t *testing.T) {
	rows := []string{contender.Direct, contender.Linesplit}
	speed, delay := report.NewTable(rows, transferColumns...), report.NewTable(rows, "p50 µs", "p99 µs", "p99.9 µs")
	speed.Add(1, 1000, 2, 0.5, 90, 1)
	speed.Add(1, 2000, 2, 0.5, 90, 1)
	delay.Add(0, 1, 2, 3)
	b := &Bench{}
	found := []report.Section{{Title: "Line mode: throughput", Table: speed}, {Title: "Line mode: latency", Table: delay}}
	if glances := b.glances(found[:1]); len(glances) != 0 {
		t.Errorf("%d glances of one section", len(glances))
	}
	glances := b.glances(found)
	if len(glances) != 1 {
		t.Fatalf("%d glances", len(glances))
	}
	cells := glances[0].Table.Cells()
	if got := strings.Join(cells[1], " "); got != "direct – – – 1.00 2.00 3.00 – –" {
		t.Errorf("%s", got)
	}
	if got := strings.Join(cells[len(cells)-1], " "); got != "linesplit 1500 ? 2.00 0.500 – – – 90.0 –" {
		t.Errorf("%s", got)
	}
}

func TestOthersMayFail(t *testing.T) {
	b := testBench(t)
	broken := errors.New("broken")
	trials := func(names ...string) (all []*trial) {
		for _, name := range names {
			all = append(all, &trial{Setup: contender.Setup{Name: name}, label: name})
		}
		return all
	}
	calls := map[string]int{}
	err := b.turns(t.Context(), 3, trials(contender.Socat, contender.Linesplit), func(t *trial) (string, error) {
		if calls[t.Name]++; t.Name == contender.Socat {
			return "", broken
		}
		return "", nil
	})
	if err != nil || calls[contender.Socat] != 1 || calls[contender.Linesplit] != 3 || len(b.notes) != 1 || !strings.Contains(b.notes[0], "socat failed, and took no more part: broken.") {
		t.Errorf("error %v, calls %v, notes %q", err, calls, b.notes)
	}
	for _, name := range []string{contender.Linesplit, contender.Relaying, contender.Direct} {
		if err := b.turns(t.Context(), 1, trials(name), func(*trial) (string, error) { return "", broken }); !errors.Is(err, broken) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.turns(ctx, 1, trials(contender.Socat), func(*trial) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("interrupted: error = %v", err)
	}
}

func TestAbsentProgramsAreNamed(t *testing.T) {
	b := &Bench{}
	if names := b.Present(append(b.lineContenders(), b.bulkContenders()...)...); !slices.Equal(names, []string{contender.Direct, contender.Linesplit, contender.Direct, contender.Copier, contender.Relaying}) {
		t.Errorf("%q take part", names)
	}
	facts := strings.Join(programFacts(t.Context(), b.Programs, 2), "\n")
	for _, name := range []string{contender.HAProxy, contender.Nginx, contender.Socat, contender.Rsyslog} {
		if !strings.Contains(facts, name+": not here, so not measured") {
			t.Errorf("nothing about %s:\n%s", name, facts)
		}
	}
}

func TestFactorsShareTheBasePoint(t *testing.T) {
	b := testBench(t)
	b.size = fullSizes
	all := b.experiments()
	trials := b.trials(all)
	seen := map[string]bool{}
	for _, t1 := range trials {
		key := fmt.Sprint(t1.Setup, t1.spec)
		if seen[key] {
			t.Errorf("%s is run twice", t1.label)
		}
		seen[key] = true
		t1.add(1, 1, 1, 1, 1)
	}
	for _, e := range all {
		for row, name := range e.table.Rows {
			if n := len(e.table.Shown(row)[0]); n != 1 {
				t.Errorf("%s: %s has %d figures", e.name, name, n)
			}
		}
	}
	if points := 3 + 4 + 3; len(trials) != 1+points+4+1+points { // line mode with its workers, and connection mode: nobody else is here
		t.Errorf("%d trials", len(trials))
	}
}

// The plan is what the progress is told from, and what a full run takes: about 20 minutes with all proxies.
func TestPlan(t *testing.T) {
	b := New(contender.Launcher{Programs: contender.Programs{HAProxy: "x", Socat: "x", Rsyslog: "x", Nginx: contender.NginxBinary{Path: "x"}}}, Options{Reps: 3})
	full := 0.0
	for _, k := range Kinds() {
		full += k.seconds(b)
	}
	b.Reps, b.size = 1, quickSizes
	quick := 0.0
	for _, k := range Kinds() {
		quick += k.seconds(b)
	}
	if full < 600 || full > 1500 || quick < 30 || quick > 180 {
		t.Errorf("%.0f s, quick %.0f s", full, quick)
	}
	t.Logf("%.0f s, quick %.0f s", full, quick)
}
