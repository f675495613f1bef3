//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// What -markdown replaces in a file that is already there.
const (
	markBegin = "<!-- bench: begin -->"
	markEnd   = "<!-- bench: end -->"
)

// Above these the machine was not ours alone.
const (
	busyLoad  = 0.5  // load average before we began
	busySteal = 0.02 // part of the machine's time that its host gave to others
)

// textWidth is where prose wraps on a terminal.
const textWidth = 96

// section is one kind of measurement.
type section struct {
	title, about string
	table        *table
}

// report is what comes out.
type report struct {
	facts    []string
	sections []section
	warnings []string

	loadBefore float64
	cpuBefore  machineTime
}

// newReport begins a report: it notes the machine's state.
func newReport(ctx context.Context, b *bench) *report {
	r := &report{loadBefore: load(), cpuBefore: machineCPU()}
	r.facts = []string{
		time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%s, %s, %s %s", cpuModel(), count(runtime.NumCPU(), "processor"), kernel(), runtime.GOARCH),
		strings.TrimSpace(fmt.Sprintf("%s, GOMAXPROCS=%d %s", version(ctx, b.linesplit, "-version"), b.threads, b.flags)),
	}
	if b.haproxy != "" {
		r.facts = append(r.facts, fmt.Sprintf("%s, mode tcp, one listen section, no splice, nbthread %d", version(ctx, b.haproxy, "-v"), b.threads))
	} else {
		r.facts = append(r.facts, "HAProxy: not on PATH, so not measured")
	}
	if b.nginx.path != "" {
		r.facts = append(r.facts, fmt.Sprintf("%s, stream module, worker_processes %d", version(ctx, b.nginx.path, "-v"), b.threads))
	} else {
		r.facts = append(r.facts, "nginx stream: not there, so not measured")
	}
	r.facts = append(r.facts, fmt.Sprintf("%s: a proxy of fifty lines in this benchmark, GOMAXPROCS=%d", copier, b.threads))
	r.facts = append(r.facts, fmt.Sprintf("medians of %s, lowest and highest beside them; contenders took turns; all on the loopback", count(b.reps, "repetition")))
	return r
}

// finish adds what must be said about the figures.
func (r *report) finish() {
	if r.loadBefore > busyLoad {
		r.warnings = append(r.warnings, fmt.Sprintf("The machine was busy before the run: load %.1f.", r.loadBefore))
	}
	now := machineCPU()
	if stolen := (now.stolen - r.cpuBefore.stolen) / max(now.all-r.cpuBefore.all, 1); stolen > busySteal {
		r.warnings = append(r.warnings, fmt.Sprintf("The host took %.0f %% of the machine's time away.", stolen*100))
	}
	for _, s := range r.sections {
		if noise := s.table.noise(); len(noise) > 0 {
			r.warnings = append(r.warnings, fmt.Sprintf("%s: a wide range, too noisy to rely on: %s.", s.title, strings.Join(noise, "; ")))
		}
	}
}

// text writes the report for a terminal.
func (r *report) text(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.facts {
		fmt.Fprintln(&b, f)
	}
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s", strings.ToUpper(s.title), wrap(s.about, textWidth), s.table.text())
	}
	for i, warning := range r.warnings {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintln(&b, wrap("note: "+warning, textWidth))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks text between words.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

func (r *report) markdown() string {
	var b strings.Builder
	for _, f := range r.facts {
		fmt.Fprintln(&b, "-", f)
	}
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s", s.title, s.about, s.table.markdown())
	}
	for _, warning := range r.warnings {
		fmt.Fprintf(&b, "\n> %s\n", warning)
	}
	return b.String()
}

// writeMarkdown writes a new file, or replaces what lies between the marks in one that is there.
func (r *report) writeMarkdown(path string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(path, []byte("# Performance\n\n"+markBegin+"\n"+r.markdown()+markEnd+"\n"), 0o644)
	}
	if err != nil {
		return err
	}
	head, rest, ok1 := bytes.Cut(old, []byte(markBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(markEnd))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: left as it is: it has no lines %s and %s to write between", path, markBegin, markEnd)
	}
	text := string(head) + markBegin + "\n" + r.markdown() + markEnd + string(tail)
	return os.WriteFile(path, []byte(text), 0o644)
}
