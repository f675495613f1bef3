//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary take the roles that the program takes as its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			runRole(role, os.Args[2:])
			return
		}
	}
	os.Exit(m.Run())
}

func testBench(t *testing.T) *bench {
	runtime.LockOSThread() // children die with the thread that started them
	t.Cleanup(runtime.UnlockOSThread)
	return &bench{options: options{reps: 1, threads: 1, size: sizes{line: 600, rate: 2000, seconds: 1}}, dir: t.TempDir(), log: io.Discard}
}

func TestTransferWithoutProxy(t *testing.T) {
	b := testBench(t)
	for _, verify := range []bool{true, false} {
		spec := transferSpec{senders: 5, targets: 2, line: 600, bytes: wholeLines(20e6, 600), verify: verify}
		r, err := b.transfer(t.Context(), direct, spec)
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
	conns, err := connect(targets[:1], 1)
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
	p, err := testBench(t).latencyRun(t.Context(), direct)
	if err != nil || p[0] <= 0 || p[0] > p[1] || p[1] > p[2] {
		t.Errorf("p50, p99, p99.9 = %v, %v", p, err)
	}
}

func TestComposedLines(t *testing.T) {
	for size := range map[int]bool{200: true, 600: true, 1000: true} {
		for name, text := range map[string][]byte{"block": compose(blockLines, size), "stamped": stampedLine(size)} {
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
	for begin := time.Now(); time.Since(begin) < 100*time.Millisecond; {
	}
	if after, err := cpuSeconds(pid); err != nil || after <= before {
		t.Errorf("processor time went from %v to %v, %v", before, after, err)
	}
	now, err := rss(pid)
	if err != nil || now < 1<<20 {
		t.Errorf("rss = %d, %v", now, err)
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
  linesplit         1501 (1501–1501)   0.400 (0.300–0.500)
  direct            8000 (8000–8000)                     –
  linesplit / HAProxy         1.50 ×                0.67 ×
  dearest / cheapest                                1.50 ×
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if got := tab.text(); squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s", got)
	}
	if noise := tab.noise(); len(noise) != 1 || noise[0] != "linesplit CPU s/GB ±25 %" {
		t.Errorf("noise = %q", noise)
	}
}

func TestMarkdownKeepsWhatStandsAround(t *testing.T) {
	r := &report{facts: []string{"a fact"}}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := r.writeMarkdown(path); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	os.WriteFile(path, append(append([]byte("before\n"), text...), "after\n"...), 0o644)
	r.facts = []string{"another"}
	if err := r.writeMarkdown(path); err != nil {
		t.Fatal(err)
	}
	text, _ = os.ReadFile(path)
	if want := "before\n# Performance\n\n" + markBegin + "\n- another\n" + markEnd + "\nafter\n"; string(text) != want {
		t.Errorf("got %q", text)
	}
	os.WriteFile(path, []byte("no marks"), 0o644)
	if err := r.writeMarkdown(path); err == nil {
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
