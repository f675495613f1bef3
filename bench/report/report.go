// Package report holds what a benchmark found: tables of figures and charts of them, as text, Markdown and JSON.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Above these the machine was not ours alone.
const (
	busyLoad  = 0.5  // load average before we began
	busySteal = 0.02 // part of the machine's time that its host gave to others
)

// textWidth is where prose wraps on a terminal.
const textWidth = 96

// Section is one table of figures, with what it shows.
type Section struct {
	Title, About string
	Table        *Table
	Figures      []Figure
}

// Report is what comes out.
type Report struct {
	Facts    []string
	Sections []Section
	Warnings []string

	LoadBefore float64  // load average before the run
	stolen     []string // kinds of measurement during which the host took much time away
}

// Add adds what one kind of measurement found, and the part of the machine's time that the host took away meanwhile.
func (r *Report) Add(name string, found []Section, stolen float64) {
	for _, s := range found {
		s.Figures = slices.DeleteFunc(s.Figures, Figure.empty)
		r.Sections = append(r.Sections, s)
	}
	if stolen > busySteal {
		r.stolen = append(r.stolen, fmt.Sprintf("%s %.0f %%", name, stolen*100))
	}
}

// Warn adds what must be said about the figures.
func (r *Report) Warn() {
	if r.LoadBefore > busyLoad {
		r.Warnings = append(r.Warnings, fmt.Sprintf("The machine was busy before the run: load %.1f.", r.LoadBefore))
	}
	if len(r.stolen) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("The host took a part of the machine's time away: %s.", strings.Join(r.stolen, ", ")))
	}
	var wide []string
	for _, s := range r.Sections {
		if noise := s.Table.noise(); noise != "" {
			wide = append(wide, fmt.Sprintf("%s: %s", s.Title, noise))
		}
	}
	if len(wide) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("The machine was too noisy to rely on what has a ?. %s.", strings.Join(wide, "; ")))
	}
}

// Text writes the report for a terminal.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Facts {
		fmt.Fprintln(&b, f)
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s", strings.ToUpper(s.Title), wrap(s.About, textWidth), s.Table.text())
	}
	for i, warning := range r.Warnings {
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
