//go:build linux

package section

import (
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// comparedFigure is a row of the comparison: a column of a section, for one mode of linesplit.
type comparedFigure struct {
	name            string
	section, column string
	ours            string
}

// comparedFigures are what a user would measure first.
func (b *Bench) comparedFigures() []comparedFigure {
	line, connection := contender.Linesplit, contender.LinesplitConnection
	all := []comparedFigure{
		{"CPU s/GB, first part", "Line mode: first and warm", "first CPU s/GB", line},
		{"CPU s/GB, warm", "Line mode: first and warm", "warm CPU s/GB", line},
		{"MB/s, first part", "Line mode: first and warm", "first MB/s", line},
		{"MB/s, warm", "Line mode: first and warm", "warm MB/s", line},
		{"peak MiB", "Line mode: throughput", "peak MiB", line},
		{"trickle: CPU % of a core", "Line mode: trickle", "CPU % of a core", line},
		{"trickle: p50 µs", "Line mode: trickle", "p50 µs", line},
		{"trickle: p99 µs", "Line mode: trickle", "p99 µs", line},
		{"one connection of single lines: p50 µs", "Line mode: latency", "p50 µs", line},
		{"one connection of single lines: p99 µs", "Line mode: latency", "p99 µs", line},
		{"idle connection, never wrote: KB", idleTitle, "KB each, never wrote", line},
		{"idle connection, after a line: KB", idleTitle, "KB each, after a line", line},
		{"at rest: CPU % of a core", "Line mode: at rest", "CPU % of a core", line},
	}
	for _, c := range b.crowds() {
		for _, column := range []string{"CPU s/GB", "MB/s", "proxy, cores", "peak MiB"} {
			all = append(all, comparedFigure{c.title + ": " + column, "Line mode: " + c.title, column, line})
		}
	}
	for _, title := range linkTitles {
		for _, ours := range []string{line, connection} {
			for _, column := range []string{"MB/s", "CPU s/GB"} {
				name := fmt.Sprintf("%s, link %s: %s", modeName(ours), title, column)
				all = append(all, comparedFigure{name, "Targets across a link, " + title, column, ours})
			}
		}
	}
	for _, ours := range []string{line, connection} {
		for _, column := range []string{"CPU s/GB", "MB/s"} {
			all = append(all, comparedFigure{fmt.Sprintf("%s, TLS in and out: %s", modeName(ours), column),
				"TLS in and out", column, ours})
		}
	}
	return append(all,
		comparedFigure{"connections/s", "Connection mode: connections", "connections/s", connection},
		comparedFigure{"CPU s per 10,000 connections", "Connection mode: connections", "CPU s per 10,000", connection},
		comparedFigure{"round trip: p50 µs", "Connection mode: round trip", "p50 µs", connection},
		comparedFigure{"round trip: p99 µs", "Connection mode: round trip", "p99 µs", connection},
		comparedFigure{"bulk: CPU s/GB", "Connection mode: bulk", "CPU s/GB", connection},
		comparedFigure{"bulk: MB/s", "Connection mode: bulk", "MB/s", connection},
		comparedFigure{"idle pair: KB", "Connection mode: memory of an idle pair", "KB per pair", connection},
	)
}

func modeName(ours string) string {
	if ours == contender.LinesplitConnection {
		return "connection mode"
	}
	return "line mode"
}

// comparison returns a table with a row for each figure that was measured of linesplit and of
// HAProxy or the old linesplit, and their ratios. It returns nothing for a single row.
func (b *Bench) comparison(found []report.Section) []report.Section {
	var names []string
	var rows [][][]float64
	columns, use := b.comparedColumns()
	for _, f := range b.comparedFigures() {
		for _, s := range found {
			if row := compare(s, f, use); row != nil {
				names, rows = append(names, f.name), append(rows, row)
			}
		}
	}
	if len(rows) < 2 {
		return nil
	}
	t := report.NewTable(names, columns...)
	for row, cells := range rows {
		for col, values := range cells {
			t.Set(row, col, values)
		}
	}
	return []report.Section{{
		Title: "linesplit compared",
		About: "How each was measured stands further down. Ratios are taken within each repetition; below 1 is better for processor time, delays and memory, above 1 for speed.",
		Table: t,
	}}
}

// comparedColumn returns the values of a column of the comparison.
type comparedColumn func(haproxy, old, ours []float64) []float64

// comparedColumns returns the names of the comparison's columns and where their values come from.
func (b *Bench) comparedColumns() (names []string, use []comparedColumn) {
	add := func(name string, values comparedColumn) { names, use = append(names, name), append(use, values) }
	beside, old := b.Has(contender.HAProxy), b.Has(contender.OldLinesplit)
	if beside {
		add(contender.HAProxy, func(haproxy, _, _ []float64) []float64 { return haproxy })
	}
	if old {
		add("old", func(_, old, _ []float64) []float64 { return old })
	}
	add("linesplit", func(_, _, ours []float64) []float64 { return ours })
	if beside && old {
		add("old / HAProxy", func(haproxy, old, _ []float64) []float64 { return report.Ratios(old, haproxy) })
	}
	if beside {
		add("linesplit / HAProxy", func(haproxy, _, ours []float64) []float64 { return report.Ratios(ours, haproxy) })
	}
	if old {
		add("linesplit / old", func(_, old, ours []float64) []float64 { return report.Ratios(ours, old) })
	}
	return names, use
}

// compare returns the cells of one row, nil if the section does not have the figure or has it of
// linesplit alone.
func compare(s report.Section, f comparedFigure, use []comparedColumn) (cells [][]float64) {
	if s.Title != f.section {
		return nil
	}
	haproxy, old := s.Table.Find(contender.HAProxy, f.column), s.Table.Find(contender.Old(f.ours), f.column)
	ours := s.Table.Find(f.ours, f.column)
	if ours == nil || haproxy == nil && old == nil {
		return nil
	}
	for _, values := range use {
		cells = append(cells, values(haproxy, old, ours))
	}
	return cells
}
