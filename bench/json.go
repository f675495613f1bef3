//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// record is a report as programs read it.
type record struct {
	Facts    []string        `json:"facts"`
	Sections []sectionRecord `json:"sections"`
	Warnings []string        `json:"warnings"`
}

type sectionRecord struct {
	Title   string      `json:"title"`
	About   string      `json:"about"`
	Columns []string    `json:"columns"`
	Rows    []rowRecord `json:"rows"`
	Figures []figure    `json:"figures"`
}

// rowRecord has a list for each column: what each repetition gave.
type rowRecord struct {
	Name   string      `json:"name"`
	Values [][]float64 `json:"values"`
}

func (r *report) record() record {
	out := record{Facts: r.facts, Warnings: r.warnings}
	for _, s := range r.sections {
		one := sectionRecord{Title: s.title, About: s.about, Columns: s.table.columns}
		for _, f := range s.figures {
			f.Text = f.text()
			one.Figures = append(one.Figures, f)
		}
		for row, name := range s.table.rows {
			one.Rows = append(one.Rows, rowRecord{name, s.table.shown(row)})
		}
		out.Sections = append(out.Sections, one)
	}
	return out
}

// writeJSON writes the report to a file, in a folder that it makes if need be.
func (r *report) writeJSON(path string) error {
	text, err := json.Marshal(r.record())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
