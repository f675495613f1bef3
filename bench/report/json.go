package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Document is the content of a report's JSON file.
type Document struct {
	Facts    []string          `json:"facts"`
	Sections []DocumentSection `json:"sections"`
	Warnings []string          `json:"warnings"`
}

// DocumentSection is a section of a Document.
type DocumentSection struct {
	Title   string        `json:"title"`
	About   string        `json:"about"`
	Columns []string      `json:"columns"`
	Rows    []DocumentRow `json:"rows"`
	Figures []Figure      `json:"figures"`
}

// DocumentRow holds, for each column, the values of all repetitions.
type DocumentRow struct {
	Name   string      `json:"name"`
	Values [][]float64 `json:"values"` // empty lists where there is nothing to show
}

func (r *Report) document() Document {
	out := Document{Facts: r.Facts, Warnings: r.Warnings}
	for _, s := range r.Sections {
		one := DocumentSection{Title: s.Title, About: s.About, Columns: s.Table.Columns}
		for _, f := range s.Figures {
			f.Text = f.text()
			one.Figures = append(one.Figures, f)
		}
		for row, name := range s.Table.Rows {
			one.Rows = append(one.Rows, DocumentRow{name, s.Table.Values(row)})
		}
		out.Sections = append(out.Sections, one)
	}
	return out
}

// writeJSON writes the report to a file and makes the folder if it is missing.
func (r *Report) writeJSON(path string) error {
	text, err := json.Marshal(r.document())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read reads a file that Write has written.
func Read(path string) (Document, error) {
	var d Document
	text, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
