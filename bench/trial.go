//go:build linux

package main

// trial is one contender under one set of conditions, which is repeated.
type trial struct {
	setup
	label  string // for people
	spec   transferSpec
	places []place // where its figures go
	failed bool    // it takes no more part
}

// place is a row of a table.
type place struct {
	table *table
	row   int
}

func (t *trial) add(values ...float64) {
	for _, p := range t.places {
		p.table.add(p.row, values...)
	}
}

// oneTable returns a trial for each contender and the table of their figures, with a row for each.
func oneTable(names []string, columns ...string) (*table, []*trial) {
	t := newTable(names, columns...)
	var all []*trial
	for row, name := range names {
		all = append(all, &trial{setup: setup{name: name}, label: name, places: []place{{t, row}}})
	}
	return t, all
}
