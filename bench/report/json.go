package report

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
	Figures []Figure    `json:"figures"`
}

// rowRecord has a list for each column: what each repetition gave.
type rowRecord struct {
	Name   string      `json:"name"`
	Values [][]float64 `json:"values"`
}

func (r *Report) record() record {
	out := record{Facts: r.Facts, Warnings: r.Warnings}
	for _, s := range r.Sections {
		one := sectionRecord{Title: s.Title, About: s.About, Columns: s.Table.Columns}
		for _, f := range s.Figures {
			f.Text = f.text()
			one.Figures = append(one.Figures, f)
		}
		for row, name := range s.Table.Rows {
			one.Rows = append(one.Rows, rowRecord{name, s.Table.Shown(row)})
		}
		out.Sections = append(out.Sections, one)
	}
	return out
}

// writeJSON writes the report to a file, in a folder that it makes if need be.
func (r *Report) writeJSON(path string) error {
	text, err := json.Marshal(r.record())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
