//go:build linux

package section

import (
	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// trial is one contender under one set of conditions. It is repeated.
type trial struct {
	setting
	label  string // in the log
	spec   load.Transfer
	rows   []tableRow // where its figures go
	warm   tableRow   // where those of the parts of a run go, if there are any
	failed bool       // left out from now on
}

// tableRow is a row of a table.
type tableRow struct {
	table *report.Table
	row   int
}

// add adds the figures of one repetition.
func (t *trial) add(values ...float64) {
	for _, r := range t.rows {
		r.add(values...)
	}
}

func (r tableRow) add(values ...float64) { r.table.Add(r.row, values...) }

// named returns the setting of a contender with targets on the loopback.
func named(name string) setting { return setting{Setup: contender.Setup{Name: name}} }

// newTrials returns a trial for each contender, and a table with a row for each of them.
func newTrials(names []string, columns ...string) (*report.Table, []*trial) {
	t := report.NewTable(names, columns...)
	var all []*trial
	for row, name := range names {
		all = append(all, &trial{setting: named(name), label: name, rows: []tableRow{{t, row}}})
	}
	return t, all
}
