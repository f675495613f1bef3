//go:build linux

package section

import (
	"fmt"
	"slices"

	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// warmColumns are the columns of transferResult.warmFigures.
var warmColumns = []string{"first MB/s", "first CPU s/GB", "warm MB/s", "warm CPU s/GB"}

// warmFigures returns the values of warmColumns.
func (r transferResult) warmFigures() []float64 {
	warm := r.since(r.first)
	return []float64{r.first.speed(), r.first.cost(), warm.speed(), warm.cost()}
}

// addWarm gives each trial a row for the two parts of its runs, in a table of their own. Contenders
// that move less have only one part.
func addWarm(trials []*trial) *report.Table {
	var names []string
	for _, t := range trials {
		if workDivisor(t.Name) == 1 {
			names = append(names, t.Name)
		}
	}
	table := report.NewTable(names, warmColumns...)
	for _, t := range trials {
		t.warm = tableRow{table, slices.Index(names, t.Name)}
	}
	return table
}

func (b *Bench) warmSection(t *report.Table) report.Section {
	t.Hide(contender.Direct, 1, 3)
	addRatios(t, contender.Linesplit)
	return report.Section{
		Title: "Line mode: first and warm",
		About: fmt.Sprintf("The same runs in two parts: the first %.1f GB after the start, in which memory is touched for "+
			"the first time and windows grow, and the rest.", float64(b.size.first)/1e9),
		Table: t,
		Figures: []report.Figure{
			report.Bars(t, "warm", "Line mode: first and warm", "MB/s", "first MB/s", "warm MB/s"),
			report.Bars(t, "warm-cpu", "Line mode: processor time, first and warm", "CPU s/GB",
				"first CPU s/GB", "warm CPU s/GB"),
		},
	}
}
