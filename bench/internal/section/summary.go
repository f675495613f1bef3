//go:build linux

package section

import (
	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// summaryColumn is a column of a summary: the section and column it is taken from, and its own
// name.
type summaryColumn struct{ section, column, name string }

// The summaries are one table for each mode, put together from those of its sections.
var (
	lineColumns = []summaryColumn{
		{"Line mode: throughput", "MB/s", "MB/s"},
		{"Line mode: throughput", "million lines/s", "million lines/s"},
		{"Line mode: throughput", "CPU s/GB", "CPU s/GB"},
		{"Line mode: latency", "p50 µs", "p50 µs"},
		{"Line mode: latency", "p99 µs", "p99 µs"},
		{"Line mode: latency", "p99.9 µs", "p99.9 µs"},
		{"Line mode: throughput", "peak MiB", "peak MiB"},
		{idleTitle, "KB each, after a line", "KB per idle connection"},
	}
	connectionColumns = []summaryColumn{
		{"Connection mode: bulk", "MB/s", "MB/s"},
		{"Connection mode: bulk", "million lines/s", "million lines/s"},
		{"Connection mode: bulk", "CPU s/GB", "CPU s/GB"},
		{"Connection mode: connections", "connections/s", "connections/s"},
		{"Connection mode: round trip", "p50 µs", "p50 µs"},
		{"Connection mode: round trip", "p99 µs", "p99 µs"},
		{"Connection mode: round trip", "p99.9 µs", "p99.9 µs"},
		{"Connection mode: bulk", "peak MiB", "peak MiB"},
		{"Connection mode: memory of an idle pair", "KB per pair", "KB per idle pair"},
	}
)

// summaries returns a table for each mode of which at least two sections were measured.
func (b *Bench) summaries(found []report.Section) (summaries []report.Section) {
	const about = "Medians. How each was measured stands further down, with the ranges."
	for _, mode := range []struct {
		title   string
		rows    []string
		ours    string
		columns []summaryColumn
	}{
		{"Line mode at a glance", b.lineContenders(), contender.Linesplit, lineColumns},
		{"Connection mode at a glance", b.bulkContenders(), contender.LinesplitConnection, connectionColumns},
	} {
		if t, n := summarize(mode.rows, mode.columns, found); n >= 2 {
			addRatios(t, mode.ours)
			summaries = append(summaries, report.Section{Title: mode.title, About: about, Table: t})
		}
	}
	return summaries
}

// summarize fills a table with columns of other sections, and returns from how many sections it has
// taken some.
func summarize(rows []string, columns []summaryColumn, found []report.Section) (t *report.Table, sections int) {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	t = report.NewTable(rows, names...)
	t.Brief = true
	used := map[string]bool{}
	for i, c := range columns {
		for _, from := range found {
			if from.Title == c.section {
				used[c.section] = true
				t.CopyColumn(i, from.Table, c.column)
			}
		}
	}
	return t, len(used)
}
