//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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
	return &bench{options: options{reps: 1, threads: 1, size: sizes{line: 600, rate: 2000, seconds: 1,
		check: 1e6, bulk: 5e6, calls: 200, trips: 500, idle: 40, settle: 100 * time.Millisecond}}, dir: t.TempDir(), log: io.Discard}
}

// testForwarders gives a bench the proxies that are here: io.Copy always is, linesplit itself has tests of its own.
func testForwarders(t *testing.T) (b *bench, names []string) {
	b = testBench(t)
	b.haproxy, _ = exec.LookPath("haproxy")
	b.nginx, _ = findNginx(t.Context())
	names = b.forwarders(true)
	return b, names[:len(names)-1]
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

func TestForwarders(t *testing.T) {
	b, names := testForwarders(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			spec := transferSpec{senders: 3, targets: 2, line: 600, bytes: wholeLines(5e6, 600), verify: true}
			if r, err := b.transfer(t.Context(), name, spec); err != nil || r.seconds <= 0 {
				t.Errorf("transfer: %+v, %v", r, err)
			}
			if seconds, cpu, err := b.connectionsRun(t.Context(), name); err != nil || seconds <= 0 || cpu < 0 {
				t.Errorf("connections: %v s, %v CPU s, %v", seconds, cpu, err)
			}
			if p, err := b.roundtripRun(t.Context(), name); err != nil || p[0] <= 0 || p[0] > p[1] {
				t.Errorf("round trip: p50, p99 = %v, %v", p, err)
			}
			if name == direct {
				return
			}
			if grown, err := b.idleRun(t.Context(), name, b.size.idle, false); err != nil || len(grown) != 1 {
				t.Errorf("idle pairs: %v KB, %v", grown, err)
			}
		})
	}
}

func TestProxyEndsWithItsChildren(t *testing.T) {
	b, names := testForwarders(t)
	for _, name := range names[1:] {
		p, err := b.startProxy(t.Context(), name, []string{"127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		all, err := family(p.cmd.Process.Pid)
		for end := time.Now().Add(startLimit); name == nginx && len(all) < 2 && time.Now().Before(end); { // it listens before it has workers
			time.Sleep(time.Millisecond)
			all, err = family(p.cmd.Process.Pid)
		}
		if err != nil || name == nginx && len(all) < 2 {
			t.Errorf("%s: processes %v, %v", name, all, err)
		}
		if err := p.stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, pid := range all {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
				t.Errorf("%s: process %d of %v is still there", name, pid, all)
			}
		}
	}
}

func TestCallerTellsWhatCameBack(t *testing.T) {
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
