//go:build linux

package section

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/procstat"
	"linesplit/bench/report"
)

// sampleReport returns a report with all kinds of figures.
func sampleReport() *report.Report {
	rows := []string{contender.Direct, contender.HAProxy, contender.Linesplit}
	speed, delay := report.NewTable(rows, "MB/s", "CPU s/GB"), report.NewTable(rows, "p50 µs", "p99 µs")
	for i := range 3 {
		for row := range rows {
			speed.Add(row, float64(1000*(3-row)+10*i), 0.5+0.1*float64(i*row))
			delay.Add(row, float64(20*(row+1)+i), float64(200*(row+1)*(i+1)))
		}
	}
	speed.Hide(contender.Direct, 1)
	speed.AddRatio(contender.Linesplit, contender.HAProxy)
	e := newExperiment(factor{
		name: "senders", title: "number of senders", axis: "senders",
		contenders: rows[1:], values: []int{1, 10, 100}, base: 10,
		label: func(n int) string { return report.Count(n, "sender") },
	})
	empty := report.NewTable(rows, "MB/s")
	for row := range e.table.Rows[:5] { // the last row was not measured
		e.table.Add(row, float64(900-100*row), 1, 0.8, 20, 0.5)
	}
	r := &report.Report{Facts: []string{"a fact"}, Warnings: []string{"a warning"}}
	r.Add("throughput", []report.Section{
		{Title: "Speed", About: "How fast.", Table: speed, Figures: []report.Figure{
			report.Bars(speed, "speed", "Speed", "MB/s", "MB/s"),
			report.Bars(speed, "cpu", "Effort", "CPU s/GB", "CPU s/GB"),
		}},
		{Title: "Delay", About: "How late.", Table: delay, Figures: []report.Figure{
			report.Dots(delay, "delay", "Delay", "µs", delay.Columns...),
		}},
		{Title: "Factor", About: "What if.", Table: e.table, Figures: []report.Figure{
			e.lines("MB/s", "throughput", ""),
		}},
		{Title: "Nothing", About: "Nothing was measured.", Table: empty, Figures: []report.Figure{
			report.Bars(empty, "none", "None", "MB/s", "MB/s"),
		}},
	}, procstat.MachineTime{All: 100, Stolen: 7}.StolenSince(procstat.MachineTime{}))
	return r
}

var update = flag.Bool("update", false, "write the sample for the tests of tools/charts")

// The tests of tools/charts read a file that bench writes.
func TestSampleForChartsIsWhatBenchWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "bench.json")
	if err := sampleReport().Write("", path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const sample = "../../../tools/charts/testdata/bench.json"
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(sample), 0o755), os.WriteFile(sample, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(sample); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is out of date (%v): go test ./bench/internal/section -update\n%s", sample, err, got)
	}
}

func TestMarkdownDescribesChartsInWords(t *testing.T) {
	dir := t.TempDir()
	markdown := filepath.Join(dir, "docs", "performance.md")
	r := sampleReport()
	if err := r.Write(markdown, filepath.Join(dir, "docs", "charts", "bench.json")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(markdown)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<picture><source media="(prefers-color-scheme: dark)" srcset="charts/speed-dark.svg">` +
			`<img src="charts/speed.svg" width="49%" ` +
			`alt="Speed, MB/s. direct = 3010, HAProxy = 2010, linesplit = 1010."></picture>`,
		`p99 µs: direct = 400 (noisy), HAProxy = 800 (noisy), linesplit = 1200 (noisy)."`,
		`alt="Throughput, by number of senders, MB/s. HAProxy: 1 = 900, 10 = 800, 100 = 700; linesplit: 1 = 600, 10 = 500."`,
		"| linesplit | 1010 (1000–1020) | 0.700 (0.500–0.900) ? |\n| linesplit / HAProxy | 0.50 × | 1.17 × |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(string(text), "none.svg") {
		t.Error("a figure without values is shown")
	}
	if err := r.Write(markdown, ""); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(markdown); err != nil || strings.Contains(string(text), "<picture>") {
		t.Errorf("charts are shown without a JSON file to draw them from (%v)", err)
	}
}

func TestReportWarnsOfUnreliableFigures(t *testing.T) {
	r, b := sampleReport(), &Bench{notes: []string{"socat failed."}}
	r.LoadBefore = 2.5
	b.Finish(r)
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{
		"note: socat failed.",
		"was busy before the run: load 2.5.",
		"time away: throughput 7 %.",
		"too noisy to rely on figures with a ?. Speed: 2 of 5 figures; Delay: 3 of 6 figures.",
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("missing: %s\n%s", want, text.String())
		}
	}
}
