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
	"path/filepath"
	"runtime"
	"slices"
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

// section is one table of figures, with what it shows.
type section struct {
	title, about string
	table        *table
	figures      []figure
}

// report is what comes out.
type report struct {
	facts    []string
	sections []section
	warnings []string
	pictures string // folder of the charts, as the Markdown file names it, with a slash behind it; empty: show none

	loadBefore float64
	stolen     []string // kinds of measurement during which the host took much time away
}

// newReport begins a report: it notes the machine's state.
func newReport(ctx context.Context, b *bench) *report {
	r := &report{loadBefore: load()}
	r.facts = []string{
		time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%s, %s, %s %s", cpuModel(), count(runtime.NumCPU(), "processor"), kernel(), runtime.GOARCH),
		strings.TrimSpace(fmt.Sprintf("%s, GOMAXPROCS=%d %s", version(ctx, b.linesplit, "-version"), b.threads, b.flags)),
	}
	r.facts = append(r.facts, b.programs.facts(ctx, b.threads)...)
	r.facts = append(r.facts,
		fmt.Sprintf("medians of %s, lowest and highest beside them; contenders took turns; all on the loopback", count(b.reps, "repetition")),
		fmt.Sprintf("a figure with a ? (hollow in charts) has a range wider than %.0f %% of it: the machine was too noisy to rely on it", noisy*100))
	if b.quick {
		r.facts = append(r.facts, "a quick run, to see that all works: these figures are worth nothing")
	}
	return r
}

// add adds what one kind of measurement found, and what the host did meanwhile.
func (r *report) add(k *kind, found []section, before, after machineTime) {
	for _, s := range found {
		s.figures = slices.DeleteFunc(s.figures, figure.empty)
		r.sections = append(r.sections, s)
	}
	if stolen := (after.stolen - before.stolen) / max(after.all-before.all, 1); stolen > busySteal {
		r.stolen = append(r.stolen, fmt.Sprintf("%s %.0f %%", k.name, stolen*100))
	}
}

// finish puts the glances in front, and adds what must be said about the figures.
func (r *report) finish(b *bench) {
	r.sections = append(b.glances(r.sections), r.sections...)
	r.warnings = append(r.warnings, b.notes...)
	if r.loadBefore > busyLoad {
		r.warnings = append(r.warnings, fmt.Sprintf("The machine was busy before the run: load %.1f.", r.loadBefore))
	}
	if len(r.stolen) > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("The host took a part of the machine's time away: %s.", strings.Join(r.stolen, ", ")))
	}
	var wide []string
	for _, s := range r.sections {
		if noise := s.table.noise(); noise != "" {
			wide = append(wide, fmt.Sprintf("%s: %s", s.title, noise))
		}
	}
	if len(wide) > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("The machine was too noisy to rely on what has a ?. %s.", strings.Join(wide, "; ")))
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
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", s.title, s.about)
		if r.pictures != "" && len(s.figures) > 0 {
			for _, f := range s.figures {
				fmt.Fprintln(&b, f.markdown(r.pictures))
			}
			fmt.Fprintln(&b)
		}
		b.WriteString(s.table.markdown())
	}
	for _, warning := range r.warnings {
		fmt.Fprintf(&b, "\n> %s\n", warning)
	}
	return b.String()
}

// write writes the files that are wanted.
func (r *report) write(o options) error {
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	if o.markdown == "" {
		return nil
	}
	if o.json != "" {
		folder, err := filepath.Rel(filepath.Dir(o.markdown), filepath.Dir(o.json))
		if err != nil {
			return fmt.Errorf("the charts beside %s as %s sees them: %w", o.json, o.markdown, err)
		}
		r.pictures = filepath.ToSlash(folder) + "/"
	}
	return r.writeMarkdown(o.markdown)
}

// writeMarkdown writes a new file, or replaces what lies between the marks in one that is there.
func (r *report) writeMarkdown(path string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
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
