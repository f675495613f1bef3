// Package report holds what a benchmark found, as tables of figures with charts, and writes it as
// text, Markdown and JSON.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Above these limits other work shared the machine, and the report warns about it.
const (
	maxLoad   = 0.5  // load average before the run
	maxStolen = 0.02 // share of the machine's time that its host gave to others
)

// textWidth is the column at which text wraps, on a terminal and in Markdown.
const textWidth = 96

// Section is one table of figures with its charts and a description of the measurement.
type Section struct {
	Title, About string
	Table        *Table
	Figures      []Figure
}

// Report is the result of a run.
type Report struct {
	Facts      []string // about the machine, the contenders and the figures
	Sections   []Section
	Warnings   []string
	LoadBefore float64 // load average before the run

	stolen []string // measurements during which the host took much of the machine's time
}

// Add adds the sections of one measurement. stolen is the share of the machine's time that its host
// gave to others meanwhile.
func (r *Report) Add(name string, sections []Section, stolen float64) {
	for _, s := range sections {
		s.Figures = slices.DeleteFunc(s.Figures, Figure.empty)
		r.Sections = append(r.Sections, s)
	}
	if stolen > maxStolen {
		r.stolen = append(r.stolen, fmt.Sprintf("%s %.0f %%", name, stolen*100))
	}
}

// AddWarnings adds a warning for each reason not to rely on the figures.
func (r *Report) AddWarnings() {
	if r.LoadBefore > maxLoad {
		r.Warnings = append(r.Warnings, fmt.Sprintf("The machine was busy before the run: load %.1f.", r.LoadBefore))
	}
	if len(r.stolen) > 0 {
		r.Warnings = append(r.Warnings,
			fmt.Sprintf("The host took part of the machine's time away: %s.", strings.Join(r.stolen, ", ")))
	}
	var noisy []string
	for _, s := range r.Sections {
		if noise := s.Table.noise(); noise != "" {
			noisy = append(noisy, fmt.Sprintf("%s: %s", s.Title, noise))
		}
	}
	if len(noisy) > 0 {
		r.Warnings = append(r.Warnings,
			fmt.Sprintf("The machine was too noisy to rely on figures with a ?. %s.", strings.Join(noisy, "; ")))
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
