//go:build linux

package section

import (
	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// trial is one contender under one set of conditions, which is repeated.
type trial struct {
	contender.Setup
	label  string // for people
	spec   load.Transfer
	places []place // where its figures go
	failed bool    // it takes no more part
}

// place is a row of a table.
type place struct {
	table *report.Table
	row   int
}

func (t *trial) add(values ...float64) {
	for _, p := range t.places {
		p.table.Add(p.row, values...)
	}
}

// oneTable returns a trial for each contender and the table of their figures, with a row for each.
func oneTable(names []string, columns ...string) (*report.Table, []*trial) {
	t := report.NewTable(names, columns...)
	var all []*trial
	for row, name := range names {
		all = append(all, &trial{Setup: contender.Setup{Name: name}, label: name, places: []place{{t, row}}})
	}
	return t, all
}
