//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

	loadBefore float64  // load average before the run
	stolen     []string // kinds of measurement during which the host took much time away
}

// add adds what one kind of measurement found, and the part of the machine's time that the host took away meanwhile.
func (r *report) add(name string, found []section, stolen float64) {
	for _, s := range found {
		s.figures = slices.DeleteFunc(s.figures, figure.empty)
		r.sections = append(r.sections, s)
	}
	if stolen > busySteal {
		r.stolen = append(r.stolen, fmt.Sprintf("%s %.0f %%", name, stolen*100))
	}
}

// warn adds what must be said about the figures.
func (r *report) warn() {
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

// markdown returns the report with its charts, which are in a folder, as the Markdown file names it, with a slash behind it; empty: show none.
func (r *report) markdown(pictures string) string {
	var b strings.Builder
	for _, f := range r.facts {
		fmt.Fprintln(&b, "-", f)
	}
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", s.title, s.about)
		if pictures != "" && len(s.figures) > 0 {
			for _, f := range s.figures {
				fmt.Fprintln(&b, f.markdown(pictures))
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

// write writes the files that are wanted: those whose paths are not empty.
func (r *report) write(markdown, json string) error {
	if json != "" {
		if err := r.writeJSON(json); err != nil {
			return err
		}
	}
	if markdown == "" {
		return nil
	}
	pictures := ""
	if json != "" {
		folder, err := filepath.Rel(filepath.Dir(markdown), filepath.Dir(json))
		if err != nil {
			return fmt.Errorf("the charts beside %s as %s sees them: %w", json, markdown, err)
		}
		pictures = filepath.ToSlash(folder) + "/"
	}
	return r.writeMarkdown(markdown, pictures)
}

// writeMarkdown writes a new file, or replaces what lies between the marks in one that is there.
func (r *report) writeMarkdown(path, pictures string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte("# Performance\n\n"+markBegin+"\n"+r.markdown(pictures)+markEnd+"\n"), 0o644)
	}
	if err != nil {
		return err
	}
	head, rest, ok1 := bytes.Cut(old, []byte(markBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(markEnd))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: left as it is: it has no lines %s and %s to write between", path, markBegin, markEnd)
	}
	text := string(head) + markBegin + "\n" + r.markdown(pictures) + markEnd + string(tail)
	return os.WriteFile(path, []byte(text), 0o644)
}
