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

// TestMain runs roles, as the program does, when the test binary is its own child.
func TestMain(m *testing.M) {
	if load.RunRole(contender.Roles(), os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// testBench returns a Bench with small sizes and without other proxies.
func testBench(t *testing.T) *Bench {
	lockThread(t)
	b := New(contender.Launcher{Threads: 1, Dir: t.TempDir(), Disk: t.TempDir()}, Options{Reps: 1, Log: io.Discard, Progress: noProgress{}})
	b.size = sizes{line: 600, rate: 2000, seconds: 1, check: 1e6, bulk: 5e6, calls: 200, trips: 500, idle: 40,
		settle: 100 * time.Millisecond, rest: 100 * time.Millisecond, spool: 5e6, outage: 15e6, killed: 1000,
		quiet: 200 * time.Millisecond}
	var err error
	if b.Certs, err = load.MakeCertificates(b.Dir); err != nil {
		t.Fatal(err)
	}
	return b
}

// lockThread keeps a test on one thread: the kernel kills children when the thread that started
// them ends.
func lockThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

type noProgress struct{}

func (noProgress) Step(float64) {}

func (noProgress) String() string { return "" }

// testInstalled returns a Bench with small sizes and the installed proxies. It has no linesplit,
// which has tests of its own.
func testInstalled(t *testing.T) *Bench {
	b := testBench(t)
	b.FindPrograms(t.Context(), func(err error) { t.Logf("%v: tested without it", err) })
	return b
}

func TestTransferArrivesWithoutProxy(t *testing.T) {
	b := testBench(t)
	for _, verify := range []bool{true, false} {
		spec := load.Transfer{Senders: 5, Targets: 2, Line: 600, Verify: verify}.WithBytes(20e6)
		r, err := b.transfer(t.Context(), named(contender.Direct), spec)
		if err != nil || r.seconds <= 0 || r.bytes != 19999800 || r.first != (transferPart{}) {
			t.Errorf("verify %v: %+v, %v", verify, r, err)
		}
	}
}

func TestTransferIsAlsoMeasuredInTwoParts(t *testing.T) {
	b := testBench(t)
	spec := load.Transfer{Senders: 2, Targets: 2, Line: 600, First: 5e6}.WithBytes(50e6)
	r, err := b.transfer(t.Context(), named(contender.Direct), spec)
	rest := r.since(r.first)
	if err != nil || r.first.bytes < spec.First || r.first.seconds <= 0 ||
		rest.bytes < 0 || rest.seconds <= 0 || r.first.bytes+rest.bytes != spec.Bytes {
		t.Errorf("first %+v, rest %+v, %v", r.first, rest, err)
	}
	if short := spec.WithBytes(5e6); short.First != 0 {
		t.Errorf("%+v has a second part without bytes", short)
	}
}

func TestFailureOfASenderEndsATransferAtOnce(t *testing.T) {
	sent := make(chan error, 1)
	broken := errors.New("broken")
	sent <- broken
	lockThread(t)
	sink, err := load.Spawn(t.Context(), "sink")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Stop()
	if _, err := sink.Await("listening"); err != nil {
		t.Fatal(err)
	}
	if err := expect(sink, 1); err != nil {
		t.Fatal(err)
	}
	if err := awaitReached(sink, sent); !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
}

func TestLatencyIsMeasuredWithoutProxy(t *testing.T) {
	testLatency(t, testBench(t), contender.Direct, 1)
	testLatency(t, testBench(t), contender.Direct, 3)
}

func testLatency(t *testing.T, b *Bench, name string, senders int) {
	t.Helper()
	r, err := b.latencyRun(t.Context(), contender.Setup{Name: name}, senders, b.size.rate)
	p := r.percentiles
	if err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
		t.Errorf("%s, %d senders: p50, p99, p99.9 = %v, %v", name, senders, p, err)
	}
	if r.seconds < float64(b.size.seconds)*0.9 || r.ends <= 0 || (r.proxy > 0) != (name != contender.Direct) {
		t.Errorf("%s, %d senders: %v s, CPU %+v", name, senders, r.seconds, r.meters)
	}
}

func TestForwardersAreMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	b := testInstalled(t)
	names := without(b.forwarders(), contender.LinesplitConnection)
	for _, name := range append(names, b.Available(contender.HAProxySplicing)...) {
		t.Run(name, func(t *testing.T) {
			s := contender.Setup{Name: name}
			testTransfer(t, b, s, 600)
			seconds, cpu, err := b.connectionsRun(t.Context(), s, b.callCount(name))
			if err != nil || seconds <= 0 || cpu.ends <= 0 || (cpu.proxy > 0) != (name != contender.Direct) {
				t.Errorf("connections: %v s, CPU %+v, %v", seconds, cpu, err)
			}
			if p, err := b.roundtripRun(t.Context(), s); err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
				t.Errorf("round trip: p50, p99, p99.9 = %v, %v", p, err)
			}
			if name == contender.Direct {
				return
			}
			testRest(t, b, name)
			perConn, err := b.idleRun(t.Context(), s, b.idleCount(name), false)
			if err != nil || len(perConn) != 1 {
				t.Errorf("idle pairs: %v KB, %v", perConn, err)
			}
		})
	}
}

// rsyslog forwards only lines. TestForwardersAreMeasured tests the other proxies.
func TestRsyslogIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	b := testInstalled(t)
	if !b.Has(contender.Rsyslog) {
		t.Skip("rsyslogd is not installed")
	}
	s := contender.Setup{Name: contender.Rsyslog}
	testTransfer(t, b, s, 100, 600, 64<<10)
	testLatency(t, b, contender.Rsyslog, 1)
	testRest(t, b, contender.Rsyslog)
	perConn, err := b.idleRun(t.Context(), s, b.idleCount(contender.Rsyslog), true)
	if err != nil || len(perConn) != 2 {
		t.Errorf("idle: %v KB, %v", perConn, err)
	}
}

func testRest(t *testing.T, b *Bench, name string) {
	t.Helper()
	if cpu, err := b.restRun(t.Context(), contender.Setup{Name: name}); err != nil || cpu < 0 || cpu > 1 {
		t.Errorf("%s at rest takes %v of a core, %v", name, cpu, err)
	}
}

// testTransfer moves some bytes and checks every line.
func testTransfer(t *testing.T, b *Bench, s contender.Setup, lines ...int) {
	t.Helper()
	for _, line := range lines {
		spec := load.Transfer{Senders: 3, Targets: 2, Line: line, Verify: true}.WithBytes(5e6)
		r, err := b.transfer(t.Context(), setting{Setup: s}, spec)
		if err != nil || r.seconds <= 0 || s.Name != contender.Direct && r.peak < 100<<10 {
			t.Errorf("%s, lines of %d bytes, %v: %+v, %v", s.Name, line, s.TLS, r, err)
		}
	}
}

func TestTransfersOverTLSArrive(t *testing.T) {
	b := testInstalled(t)
	both := contender.Legs{In: true, Out: true}
	testTransfer(t, b, contender.Setup{Name: contender.Direct, TLS: both}, 100, 600, 64<<10)
	for _, legs := range tlsLegs {
		for _, name := range b.Available(contender.HAProxy, contender.Nginx) {
			testTransfer(t, b, contender.Setup{Name: name, TLS: legs}, 600)
		}
	}
}

func TestSummariesTakeColumnsOfOtherSections(t *testing.T) {
	rows := []string{contender.Direct, contender.Linesplit}
	speed, delay := report.NewTable(rows, transferColumns...), report.NewTable(rows, "p50 µs", "p99 µs", "p99.9 µs")
	speed.Add(1, 1000, 2, 0.5, 90, 1)
	speed.Add(1, 2000, 2, 0.5, 90, 1)
	delay.Add(0, 1, 2, 3)
	b := &Bench{}
	found := []report.Section{{Title: "Line mode: throughput", Table: speed}, {Title: "Line mode: latency", Table: delay}}
	if summaries := b.summaries(found[:1]); len(summaries) != 0 {
		t.Errorf("%d summaries of one section", len(summaries))
	}
	summaries := b.summaries(found)
	if len(summaries) != 1 {
		t.Fatalf("%d summaries", len(summaries))
	}
	cells := summaries[0].Table.Cells()
	if got := strings.Join(cells[1], " "); got != "direct – – – 1.00 2.00 3.00 – –" {
		t.Errorf("%s", got)
	}
	if got := strings.Join(cells[len(cells)-1], " "); got != "linesplit 1500 ? 2.00 0.500 – – – 90.0 –" {
		t.Errorf("%s", got)
	}
}

func TestFailureOfAnotherProxyDoesNotEndTheRun(t *testing.T) {
	b := testBench(t)
	broken := errors.New("broken")
	trials := func(names ...string) (all []*trial) {
		for _, name := range names {
			all = append(all, &trial{setting: named(name), label: name})
		}
		return all
	}
	calls := map[string]int{}
	err := b.takeTurns(t.Context(), 3, trials(contender.Socat, contender.Linesplit), func(t *trial) (string, error) {
		if calls[t.Name]++; t.Name == contender.Socat {
			return "", broken
		}
		return "", nil
	})
	if err != nil || calls[contender.Socat] != 1 || calls[contender.Linesplit] != 3 ||
		len(b.notes) != 1 || !strings.Contains(b.notes[0], "socat failed and was left out from then on: broken.") {
		t.Errorf("error %v, calls %v, notes %q", err, calls, b.notes)
	}
	fail := func(*trial) (string, error) { return "", broken }
	b.notes = nil
	if err := b.takeTurns(t.Context(), 1, trials(contender.OldLinesplit), fail); err != nil || len(b.notes) != 1 {
		t.Errorf("old build: error %v, notes %q", err, b.notes)
	}
	for _, name := range []string{contender.Linesplit, contender.LinesplitConnection, contender.Direct} {
		if err := b.takeTurns(t.Context(), 1, trials(name), fail); !errors.Is(err, broken) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.takeTurns(ctx, 1, trials(contender.Socat), fail); !errors.Is(err, broken) {
		t.Errorf("interrupted: error = %v", err)
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	b := &Bench{}
	names := b.Available(append(b.lineContenders(), b.bulkContenders()...)...)
	want := []string{contender.Direct, contender.Linesplit,
		contender.Direct, contender.IOCopy, contender.LinesplitConnection}
	if !slices.Equal(names, want) {
		t.Errorf("%q are available", names)
	}
	facts := strings.Join(b.programFacts(t.Context()), "\n")
	for _, name := range []string{contender.HAProxy, contender.Nginx, contender.Socat, contender.Rsyslog, contender.SyslogNG} {
		if !strings.Contains(facts, name+": not installed, so not measured") {
			t.Errorf("nothing about %s:\n%s", name, facts)
		}
	}
}

func TestFactorsShareOneRunAtTheBasePoint(t *testing.T) {
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
			if n := len(e.table.Values(row)[0]); n != 1 {
				t.Errorf("%s: %s has %d figures", e.name, name, n)
			}
		}
	}
	points := 3 + 4 + 3                     // lines, senders and targets besides the base point
	if len(trials) != 1+points+4+1+points { // line mode with 4 more numbers of workers, and connection mode
		t.Errorf("%d trials", len(trials))
	}
}

// A full run takes about forty minutes with all proxies, and progress is computed from the plan.
func TestPlanIsAboutAsLongAsARun(t *testing.T) {
	all := contender.Programs{HAProxy: "x", Socat: "x", Rsyslog: "x", SyslogNG: "x", Nginx: contender.NginxBinary{Path: "x"}}
	b := New(contender.Launcher{Programs: all}, Options{Reps: 3})
	full := 0.0
	for _, k := range Kinds() {
		full += k.seconds(b)
	}
	b.Reps, b.size = 1, quickSizes
	quick := 0.0
	for _, k := range Kinds() {
		quick += k.seconds(b)
	}
	if full < 600 || full > 2400 || quick < 30 || quick > 240 {
		t.Errorf("%.0f s, quick %.0f s", full, quick)
	}
	t.Logf("%.0f s, quick %.0f s", full, quick)
}

func TestComparisonTakesRatiosWithinRepetitions(t *testing.T) {
	b := testBench(t)
	b.size = fullSizes
	rows := []string{contender.Direct, contender.HAProxy, contender.OldLinesplit, contender.Linesplit}
	speed, rest := report.NewTable(rows, "MB/s", "peak MiB"), report.NewTable(rows, "CPU % of a core")
	for i := range 3 {
		speed.Add(1, float64(1000+i), 10)
		speed.Add(2, float64(1000+i)*1.1, 20)
		speed.Add(3, float64(1000+i)*1.5, 40)
		rest.Add(1, 0)
		rest.Add(3, 0.2)
	}
	found := []report.Section{
		{Title: "Line mode: one sender, two targets", Table: speed}, {Title: "Line mode: at rest", Table: rest},
	}
	b.Programs.HAProxy, b.Old = "x", "y"
	all := b.comparison(found)
	if len(all) != 1 {
		t.Fatalf("%d tables", len(all))
	}
	var got []string
	for _, row := range all[0].Table.Cells() {
		got = append(got, strings.Join(row, "|"))
	}
	want := []string{
		"|HAProxy|old|linesplit|old / HAProxy|linesplit / HAProxy|linesplit / old",
		"at rest: CPU % of a core|0.000 (0.000–0.000)|–|0.200 (0.200–0.200)|–|–|–",
		"one sender, two targets: MB/s|1001 (1000–1002)|1101 (1100–1102)|1502 (1500–1503)|" +
			"1.10 (1.10–1.10)|1.50 (1.50–1.50)|1.36 (1.36–1.36)",
		"one sender, two targets: peak MiB|10.0 (10.0–10.0)|20.0 (20.0–20.0)|40.0 (40.0–40.0)|" +
			"2.00 (2.00–2.00)|4.00 (4.00–4.00)|2.00 (2.00–2.00)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if alone := b.comparison(found[1:]); alone != nil {
		t.Errorf("%d tables of one figure", len(alone))
	}
}
