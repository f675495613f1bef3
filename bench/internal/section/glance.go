//go:build linux

package section

import (
	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// share is a column of a glance: where it comes from.
type share struct{ section, column, name string }

// The glances: one table for each mode, put together from those of its sections.
var (
	lineShares = []share{
		{"Line mode: throughput", "MB/s", "MB/s"},
		{"Line mode: throughput", "million lines/s", "million lines/s"},
		{"Line mode: throughput", "CPU s/GB", "CPU s/GB"},
		{"Line mode: latency", "p50 µs", "p50 µs"},
		{"Line mode: latency", "p99 µs", "p99 µs"},
		{"Line mode: latency", "p99.9 µs", "p99.9 µs"},
		{"Line mode: throughput", "peak MiB", "peak MiB"},
		{"Line mode: memory of an idle connection", "KB each, after a line", "KB per idle connection"},
	}
	connectionShares = []share{
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

// glances returns a table for each mode of which at least two sections are there.
func (b *Bench) glances(found []report.Section) (glances []report.Section) {
	for _, g := range []struct {
		title, about string
		rows         []string
		ours         string
		shares       []share
	}{
		{"Line mode at a glance", "Medians. How each was measured stands further down, with the ranges.", b.lineContenders(), contender.Linesplit, lineShares},
		{"Connection mode at a glance", "Medians. How each was measured stands further down, with the ranges.", b.bulkContenders(), contender.Relaying, connectionShares},
	} {
		if t, n := glance(g.rows, g.shares, found); n >= 2 {
			addRatios(t, g.ours)
			glances = append(glances, report.Section{Title: g.title, About: g.about, Table: t})
		}
	}
	return glances
}

// glance fills a table with what others have measured, and says how many gave something.
func glance(rows []string, shares []share, found []report.Section) (t *report.Table, sections int) {
	var columns []string
	for _, s := range shares {
		columns = append(columns, s.name)
	}
	t = report.NewTable(rows, columns...)
	t.Brief = true
	gave := map[string]bool{}
	for col, s := range shares {
		for _, from := range found {
			if from.Title == s.section {
				gave[s.section] = true
				t.Borrow(col, from.Table, s.column)
			}
		}
	}
	return t, len(gave)
}
