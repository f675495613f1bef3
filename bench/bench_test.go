//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary take the roles that the program takes as its own child.
func TestMain(m *testing.M) {
	if play(allRoles(), os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

func testBench(t *testing.T) *bench {
	lockThread(t)
	b := newBench(launcher{threads: 1, dir: t.TempDir()}, benchOptions{Reps: 1, Log: io.Discard, Progress: noProgress{}})
	b.size = sizes{line: 600, rate: 2000, seconds: 1, check: 1e6, bulk: 5e6, calls: 200, trips: 500, idle: 40, settle: 100 * time.Millisecond}
	var err error
	if b.certs, err = makeCertificates(b.dir); err != nil {
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

func (noProgress) Step(float64)   {}
func (noProgress) String() string { return "" }

// testProxies gives a bench the proxies that are here. io.Copy always is; linesplit itself has tests of its own.
func testProxies(t *testing.T) *bench {
	b := testBench(t)
	b.programs = findTestPrograms(t)
	return b
}

// findTestPrograms finds the proxies that are here.
func findTestPrograms(t *testing.T) programs {
	return findPrograms(t.Context(), func(err error) { t.Logf("%v: tested without it", err) })
}

// without returns names without one.
func without(names []string, name string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return n == name })
}

func TestTransferWithoutProxy(t *testing.T) {
	b := testBench(t)
	for _, verify := range []bool{true, false} {
		spec := transferSpec{senders: 5, targets: 2, line: 600, verify: verify}.lessen(20e6)
		r, err := b.transfer(t.Context(), setup{name: direct}, spec)
		if err != nil || r.seconds <= 0 {
			t.Errorf("verify %v: %+v, %v", verify, r, err)
		}
	}
}

func TestSinkFindsOddLines(t *testing.T) {
	sink, err := spawn(t.Context(), "sink", "-verify")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.stop()
	targets, err := sink.await("listening")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.ask("expect 1200", "expecting"); err != nil {
		t.Fatal(err)
	}
	conns, err := connect(targets[:1], 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := compose(1, 600)
	conns[0].Write(append(append(bytes.Clone(line[:599]), line[:300]...), line[299:]...)) // glued and torn
	conns[0].Close()
	if _, err := sink.await("reached"); err != nil {
		t.Fatal(err)
	}
	err = checkTotal(sink, transferSpec{line: 600, bytes: 1200, verify: true})
	if err == nil || !strings.Contains(err.Error(), "2 lines sent, 1 arrived, 1 of them not as they were sent") {
		t.Errorf("error = %v", err)
	}
	if err = checkTotal(sink, transferSpec{line: 600, bytes: 1800}); err == nil || !strings.Contains(err.Error(), "1800 bytes sent, 1200 arrived") {
		t.Errorf("error = %v", err)
	}
}

func TestLatencyWithoutProxy(t *testing.T) {
	p, err := testBench(t).latencyRun(t.Context(), setup{name: direct})
	if err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
		t.Errorf("p50, p99, p99.9 = %v, %v", p, err)
	}
}

func TestForwarders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	b := testProxies(t)
	for _, name := range append(without(b.forwarders(), relaying), b.present(splicing)...) {
		t.Run(name, func(t *testing.T) {
			s := setup{name: name}
			testTransfer(t, b, s, 600)
			if seconds, cpu, err := b.connectionsRun(t.Context(), s, b.callsOf(name)); err != nil || seconds <= 0 || cpu < 0 {
				t.Errorf("connections: %v s, %v CPU s, %v", seconds, cpu, err)
			}
			if p, err := b.roundtripRun(t.Context(), s); err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
				t.Errorf("round trip: p50, p99, p99.9 = %v, %v", p, err)
			}
			if name == direct {
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
	if !b.here(rsyslog) {
		t.Skip("rsyslogd is not here")
	}
	s := setup{name: rsyslog}
	testTransfer(t, b, s, 100, 600, 64<<10)
	if p, err := b.latencyRun(t.Context(), s); err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
		t.Errorf("p50, p99, p99.9 = %v, %v", p, err)
	}
	if grown, err := b.idleRun(t.Context(), s, b.held(rsyslog), true); err != nil || len(grown) != 2 {
		t.Errorf("idle: %v KB, %v", grown, err)
	}
}

// testTransfer moves some bytes, every line looked at.
func testTransfer(t *testing.T, b *bench, s setup, lines ...int) {
	t.Helper()
	for _, line := range lines {
		spec := transferSpec{senders: 3, targets: 2, line: line, verify: true}.lessen(5e6)
		r, err := b.transfer(t.Context(), s, spec)
		if err != nil || r.seconds <= 0 || s.name != direct && r.peak < 100<<10 {
			t.Errorf("%s, lines of %d bytes, %v: %+v, %v", s.name, line, s.tls, r, err)
		}
	}
}

func TestTLS(t *testing.T) {
	b := testProxies(t)
	testTransfer(t, b, setup{name: direct, tls: legs{in: true, out: true}}, 100, 600, 64<<10)
	for _, way := range tlsWays {
		for _, name := range b.present(haproxy, nginx) {
			testTransfer(t, b, setup{name: name, tls: way}, 600)
		}
	}
}

// What speaks something else than all others would be measured unfairly.
func TestOtherSuiteIsRefused(t *testing.T) {
	lockThread(t)
	dir := t.TempDir()
	certs, err := makeCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := spawn(t.Context(), "sink", "-certs", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.stop()
	targets, err := sink.await("listening")
	if err != nil {
		t.Fatal(err)
	}
	config := certs.ClientTLS()
	config.MaxVersion = tls.VersionTLS12
	if _, err := connect(targets[:1], 1, config); err == nil || !strings.Contains(err.Error(), "instead of TLS 1.3") {
		t.Errorf("sender: error = %v", err)
	}
	if _, err := sink.await("nothing"); err == nil || !strings.Contains(err.Error(), "instead of TLS 1.3") {
		t.Errorf("target: error = %v", err)
	}
}

func TestProxyEndsWithItsChildren(t *testing.T) {
	lockThread(t)
	l := &launcher{threads: 1, dir: t.TempDir(), programs: findTestPrograms(t)}
	for _, name := range l.present(haproxy, nginx, socat, copier, rsyslog) {
		sink, err := spawn(t.Context(), "sink")
		if err != nil {
			t.Fatal(err)
		}
		defer sink.stop()
		targets, err := sink.await("listening")
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.startProxy(t.Context(), setup{name: name}, targets)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			conn, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		most := map[string]int{nginx: 2, socat: 3}[name] // processes that it has in the end: nginx listens before it has workers
		all, err := family(p.cmd.Process.Pid)
		for end := time.Now().Add(startLimit); len(all) < most && time.Now().Before(end); time.Sleep(time.Millisecond) {
			all, err = family(p.cmd.Process.Pid)
		}
		if err != nil || len(all) < most {
			t.Errorf("%s: processes %v, %v", name, all, err)
		}
		if err := p.stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, pid := range all {
			if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(state), ") Z ") {
				t.Errorf("%s: process %d of %v is still there: %s", name, pid, all, state)
			}
		}
	}
}

func TestCallerTellsWhatCameBack(t *testing.T) {
	const messageSize = 100
	ln, err := listen(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for _, reply := range []string{"short", strings.Repeat("x", messageSize)} {
			if c, err := ln.Accept(); err == nil {
				io.ReadFull(c, make([]byte, messageSize))
				c.Write([]byte(reply))
				c.Close()
			}
		}
	}()
	for _, want := range []string{"read: unexpected EOF", "came back as \"xxx"} {
		caller, err := spawn(t.Context(), "call", "-to", ln.Addr().String(), "-size", strconv.Itoa(messageSize))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := caller.ask("call 1", "called"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %s", err, want)
		}
		caller.stop()
	}
}

func TestComposedLines(t *testing.T) {
	for _, size := range []int{100, 199, 200, 600, 1000, 4 << 10, 64 << 10} {
		for name, text := range map[string][]byte{"block": compose(blockLines(size), size), "stamped": stampedLine(size)} {
			for line := range bytes.Lines(text) {
				if len(line) != size || !json.Valid(line) {
					t.Fatalf("%s: %d bytes instead of %d, or no JSON: %s", name, len(line), size, line)
				}
			}
		}
	}
}

func TestProcessMeters(t *testing.T) {
	pid := os.Getpid()
	before, err := cpuSeconds(pid)
	if err != nil {
		t.Fatal(err)
	}
	after := before // it is told in hundredths of a second
	for end := time.Now().Add(10 * time.Second); err == nil && after <= before && time.Now().Before(end); {
		after, err = cpuSeconds(pid)
	}
	if err != nil || after <= before {
		t.Errorf("processor time went from %v to %v, %v", before, after, err)
	}
	now, err := resident(pid)
	if err != nil || now < 1<<20 {
		t.Errorf("resident = %d, %v", now, err)
	}
	if peak, err := peakRSS(pid); err != nil || peak < now/2 {
		t.Errorf("peak %d, now %d, %v", peak, now, err)
	}
	if n, err := descriptors(pid); err != nil || n < 3 {
		t.Errorf("descriptors = %d, %v", n, err)
	}
}

func TestTable(t *testing.T) {
	tab := newTable([]string{haproxy, linesplit, direct}, "MB/s", "CPU s/GB")
	for i := range 3 {
		tab.add(0, 1000+float64(i), 0.6)
		tab.add(1, 1501, 0.30+float64(i)/10)
		tab.add(2, 8000, 0)
	}
	tab.hide(direct, 1)
	tab.addRatio(linesplit, haproxy)
	tab.addRatio(linesplit, "somebody who is not here")
	tab.addFlatness("dearest / cheapest", 1, 0, 2)
	want := `
                                MB/s              CPU s/GB
  HAProxy           1001 (1000–1002)   0.600 (0.600–0.600)
  linesplit         1501 (1501–1501)   0.400 (0.300–0.500) ?
  direct            8000 (8000–8000)                     –
  linesplit / HAProxy         1.50 ×                0.67 ×
  dearest / cheapest                                1.50 ×
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if got := tab.text(); squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s", got)
	}
	if noise := tab.noise(); noise != "1 of 5 figures" {
		t.Errorf("noise = %q", noise)
	}
}

// sampleReport is what a run might have found.
func sampleReport() *report {
	rows := []string{direct, haproxy, linesplit}
	speed, delay := newTable(rows, "MB/s", "CPU s/GB"), newTable(rows, "p50 µs", "p99 µs")
	for i := range 3 {
		for row := range rows {
			speed.add(row, float64(1000*(3-row)+10*i), 0.5+0.1*float64(i*row))
			delay.add(row, float64(20*(row+1)+i), float64(200*(row+1)*(i+1)))
		}
	}
	speed.hide(direct, 1)
	speed.addRatio(linesplit, haproxy)
	e := newExperiment(factor{name: "senders", title: "number of senders", axis: "senders", who: rows[1:], all: []int{1, 10, 100}, base: 10,
		label: func(n int) string { return count(n, "sender") }})
	for row := range e.table.rows[:5] { // the last was not measured
		e.table.add(row, float64(900-100*row), 1, 0.8, 20, 0.5)
	}
	r := &report{facts: []string{"a fact"}, warnings: []string{"a warning"}}
	r.add("throughput", []section{
		{title: "Speed", about: "How fast.", table: speed, figures: []figure{bars(speed, "speed", "Speed", "MB/s", "MB/s"), bars(speed, "cpu", "Effort", "CPU s/GB", "CPU s/GB")}},
		{title: "Delay", about: "How late.", table: delay, figures: []figure{dots(delay, "delay", "Delay", "µs", delay.columns...)}},
		{title: "Factor", about: "What if.", table: e.table, figures: []figure{e.lines("MB/s", "throughput", "")}},
		{title: "Nobody", about: "None was here.", table: newTable(rows, "MB/s"), figures: []figure{bars(newTable(rows, "MB/s"), "none", "None", "MB/s", "MB/s")}},
	}, machineTime{all: 100, stolen: 7}.stolenSince(machineTime{}))
	return r
}

var update = flag.Bool("update", false, "write the sample that tools/charts is tested with")

// What bench writes is what tools/charts reads.
func TestJSONIsWhatChartsAreDrawnFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "bench.json")
	if err := sampleReport().write("", path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const sample = "../tools/charts/testdata/bench.json"
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(sample), 0o755), os.WriteFile(sample, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(sample); err != nil || !bytes.Equal(got, want) {
		t.Errorf("go test ./bench -update writes %s anew: %v\n%s", sample, err, got)
	}
}

func TestMarkdownShowsChartsInWords(t *testing.T) {
	dir := t.TempDir()
	markdown := filepath.Join(dir, "docs", "performance.md")
	r := sampleReport()
	if err := r.write(markdown, filepath.Join(dir, "docs", "charts", "bench.json")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(markdown)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<picture><source media="(prefers-color-scheme: dark)" srcset="charts/speed-dark.svg"><img src="charts/speed.svg" width="49%" ` +
			`alt="Speed, MB/s. direct = 3010, HAProxy = 2010, linesplit = 1010."></picture>`,
		`p99 µs: direct = 400 (noisy), HAProxy = 800 (noisy), linesplit = 1200 (noisy)."`,
		`alt="Throughput, by number of senders, MB/s. HAProxy: 1 = 900, 10 = 800, 100 = 700; linesplit: 1 = 600, 10 = 500."`,
		"| linesplit | 1010 (1000–1020) | 0.700 (0.500–0.900) ? |\n| linesplit / HAProxy | 0.50 × | 1.17 × |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("not there: %s", want)
		}
	}
	if strings.Contains(string(text), "none.svg") {
		t.Error("a chart of nothing is shown")
	}
	if err := r.write(markdown, ""); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(markdown); err != nil || strings.Contains(string(text), "<picture>") {
		t.Error("charts are shown that nobody draws")
	}
}

func TestReportSaysWhatToDistrust(t *testing.T) {
	r, b := sampleReport(), &bench{notes: []string{"socat failed."}}
	r.loadBefore = 2.5
	b.finish(r)
	var text strings.Builder
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{"note: socat failed.", "was busy before the run: load 2.5.", "time away: throughput 7 %.",
		"too noisy to rely on what has a ?. Speed: 2 of 5 figures; Delay: 3 of 6 figures."} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("not there: %s\n%s", want, text.String())
		}
	}
}

func TestGlances(t *testing.T) {
	rows := []string{direct, linesplit}
	speed, delay := newTable(rows, transferColumns...), newTable(rows, "p50 µs", "p99 µs", "p99.9 µs")
	speed.add(1, 1000, 2, 0.5, 90, 1)
	speed.add(1, 2000, 2, 0.5, 90, 1)
	delay.add(0, 1, 2, 3)
	b := &bench{}
	found := []section{{title: "Line mode: throughput", table: speed}, {title: "Line mode: latency", table: delay}}
	if glances := b.glances(found[:1]); len(glances) != 0 {
		t.Errorf("%d glances of one section", len(glances))
	}
	glances := b.glances(found)
	if len(glances) != 1 {
		t.Fatalf("%d glances", len(glances))
	}
	cells := glances[0].table.cells()
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
			all = append(all, &trial{setup: setup{name: name}, label: name})
		}
		return all
	}
	calls := map[string]int{}
	err := b.turns(t.Context(), 3, trials(socat, linesplit), func(t *trial) (string, error) {
		if calls[t.name]++; t.name == socat {
			return "", broken
		}
		return "", nil
	})
	if err != nil || calls[socat] != 1 || calls[linesplit] != 3 || len(b.notes) != 1 || !strings.Contains(b.notes[0], "socat failed, and took no more part: broken.") {
		t.Errorf("error %v, calls %v, notes %q", err, calls, b.notes)
	}
	for _, name := range []string{linesplit, relaying, direct} {
		if err := b.turns(t.Context(), 1, trials(name), func(*trial) (string, error) { return "", broken }); !errors.Is(err, broken) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.turns(ctx, 1, trials(socat), func(*trial) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("interrupted: error = %v", err)
	}
}

func TestAbsentProgramsAreNamed(t *testing.T) {
	b := &bench{}
	if names := b.present(append(b.lineContenders(), b.bulkContenders()...)...); !slices.Equal(names, []string{direct, linesplit, direct, copier, relaying}) {
		t.Errorf("%q take part", names)
	}
	facts := strings.Join(programFacts(t.Context(), b.programs, 2), "\n")
	for _, name := range []string{haproxy, nginx, socat, rsyslog} {
		if !strings.Contains(facts, name+": not here, so not measured") {
			t.Errorf("nothing about %s:\n%s", name, facts)
		}
	}
}

func TestAbsentProgramIsNamed(t *testing.T) {
	if _, err := look("linesplit-is-not-called-this"); err == nil || err.Error() != "linesplit-is-not-called-this is not on PATH" {
		t.Errorf("error = %v", err)
	}
}

func TestFactorsShareTheBasePoint(t *testing.T) {
	b := testBench(t)
	b.size = fullSizes
	all := b.experiments()
	trials := b.trials(all)
	seen := map[string]bool{}
	for _, t1 := range trials {
		key := fmt.Sprint(t1.setup, t1.spec)
		if seen[key] {
			t.Errorf("%s is run twice", t1.label)
		}
		seen[key] = true
		t1.add(1, 1, 1, 1, 1)
	}
	for _, e := range all {
		for row, name := range e.table.rows {
			if n := len(e.table.shown(row)[0]); n != 1 {
				t.Errorf("%s: %s has %d figures", e.name, name, n)
			}
		}
	}
	if points := 3 + 4 + 3; len(trials) != 1+points+4+1+points { // line mode with its workers, and connection mode: nobody else is here
		t.Errorf("%d trials", len(trials))
	}
}

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		done, elapsed float64
		want          time.Duration
	}{
		{0, 0, 600 * time.Second},
		{300, 300, 300 * time.Second},
		{300, 660, 600 * time.Second}, // twice as slow
		{600, 1000, 0},
	} {
		p := progress{planned: 600, done: c.done}
		if got := p.left(time.Duration(c.elapsed * float64(time.Second))); got != c.want {
			t.Errorf("%v of 600 s after %v s: %v left", c.done, c.elapsed, got)
		}
	}
	p := progress{planned: 600, done: 60, begun: time.Now()}
	if got := p.String(); got != " 10 %, 5 min left" { // so far, twice as fast as planned: the first minute weighs little
		t.Errorf("%q", got)
	}
}

// The plan is what the progress is told from, and what a full run takes: about 20 minutes with all proxies.
func TestPlan(t *testing.T) {
	b := newBench(launcher{programs: programs{haproxy: "x", socat: "x", rsyslog: "x", nginx: nginxBinary{path: "x"}}}, benchOptions{Reps: 3})
	full := 0.0
	for _, k := range kinds() {
		full += k.seconds(b)
	}
	b.Reps, b.size = 1, quickSizes
	quick := 0.0
	for _, k := range kinds() {
		quick += k.seconds(b)
	}
	if full < 600 || full > 1500 || quick < 30 || quick > 180 {
		t.Errorf("%.0f s, quick %.0f s", full, quick)
	}
	t.Logf("%.0f s, quick %.0f s", full, quick)
}

func TestMarkdownKeepsWhatStandsAround(t *testing.T) {
	r := &report{facts: []string{"a fact"}}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := r.writeMarkdown(path, ""); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	os.WriteFile(path, append(append([]byte("before\n"), text...), "after\n"...), 0o644)
	r.facts = []string{"another"}
	if err := r.writeMarkdown(path, ""); err != nil {
		t.Fatal(err)
	}
	text, _ = os.ReadFile(path)
	if want := "before\n# Performance\n\n" + markBegin + "\n- another\n" + markEnd + "\nafter\n"; string(text) != want {
		t.Errorf("got %q", text)
	}
	os.WriteFile(path, []byte("no marks"), 0o644)
	if err := r.writeMarkdown(path, ""); err == nil {
		t.Error("a file without marks was replaced")
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range []string{"-only speed", "-only throughput,", "-reps 0", "-threads 0", "-linesplit /nowhere/linesplit", "more"} {
		err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}
