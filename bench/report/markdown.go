package report

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Lines of an existing Markdown file between which the report is written.
const (
	MarkBegin = "<!-- bench: begin -->"
	MarkEnd   = "<!-- bench: end -->"
)

// markdown shows the figure's files in a folder, the dark one in browsers that prefer a dark
// scheme.
func (f Figure) markdown(folder string) string {
	return fmt.Sprintf(`<picture><source media="(prefers-color-scheme: dark)" srcset="%s%s-dark.svg">`+
		`<img src="%s%s.svg" width="49%%" alt="%s"></picture>`,
		folder, f.Name, folder, f.Name, html.EscapeString(f.text()))
}

// markdown returns a Markdown table.
func (t *Table) markdown() string {
	var b strings.Builder
	for i, row := range t.Cells() {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("| --- |" + strings.Repeat(" ---: |", len(t.Columns)) + "\n")
		}
	}
	return b.String()
}

// markdown returns the report. pictures is the folder of the charts, relative to the Markdown file
// and with a trailing slash; if it is empty, no charts are shown.
func (r *Report) markdown(pictures string) string {
	var b strings.Builder
	for _, f := range r.Facts {
		b.WriteString(paragraph("- ", "  ", f))
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.Title, paragraph("", "", s.About))
		if pictures != "" && len(s.Figures) > 0 {
			for _, f := range s.Figures {
				fmt.Fprintln(&b, f.markdown(pictures))
			}
			fmt.Fprintln(&b)
		}
		b.WriteString(s.Table.markdown())
	}
	for _, warning := range r.Warnings {
		b.WriteString("\n" + paragraph("> ", "> ", warning))
	}
	return b.String()
}

// paragraph wraps text at textWidth. The first line begins with first, each other one with rest.
func paragraph(first, rest, text string) string {
	return first + strings.ReplaceAll(wrap(text, textWidth-len(first)), "\n", "\n"+rest) + "\n"
}

// Write writes the report to a Markdown and a JSON file, each unless its path is empty. With both,
// the Markdown file shows the charts that are drawn beside the JSON file.
func (r *Report) Write(markdown, json string) error {
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
			return fmt.Errorf("path of the charts beside %s, relative to %s: %w", json, markdown, err)
		}
		pictures = filepath.ToSlash(folder) + "/"
	}
	return r.writeMarkdown(markdown, pictures)
}

// writeMarkdown writes a new file, or replaces the text between the marks of an existing one.
func (r *Report) writeMarkdown(path, pictures string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		text := "# Performance\n\n" + MarkBegin + "\n" + r.markdown(pictures) + MarkEnd + "\n"
		return os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		return err
	}
	head, rest, ok1 := bytes.Cut(old, []byte(MarkBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(MarkEnd))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: not changed: it has no lines %s and %s to write between", path, MarkBegin, MarkEnd)
	}
	text := string(head) + MarkBegin + "\n" + r.markdown(pictures) + MarkEnd + string(tail)
	return os.WriteFile(path, []byte(text), 0o644)
}
