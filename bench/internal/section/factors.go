//go:build linux

package section

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// factor is a condition that is varied while all others stay at the base point.
type factor struct {
	name       string // of its charts
	title      string
	axis       string // meaning of its values, for charts
	contenders []string
	values     []int
	base       int // value at the base point
	label      func(value int) string
	set        func(t *trial, value int)
}

func (b *Bench) allFactors() []factor {
	base := b.baseTrial("")
	common := b.commonContenders()
	return []factor{
		{"lines", "length of lines", "length of lines", common, b.size.lines, base.spec.Line,
			report.Size,
			func(t *trial, n int) { t.spec.Line = n }},
		{"senders", "number of senders", "senders", common, b.size.senders, base.spec.Senders,
			func(n int) string { return report.Count(n, "sender") },
			func(t *trial, n int) { t.spec.Senders = n }},
		{"targets", "number of targets", "targets", common, b.size.targets, base.spec.Targets,
			func(n int) string { return report.Count(n, "target") },
			func(t *trial, n int) { t.spec.Targets = n }},
		{"workers", "linesplit's workers (-connections)", "connections to each target",
			b.Available(contender.OldLinesplit, contender.Linesplit), b.size.workers, contender.BaseWorkers,
			func(n int) string { return report.Count(n, "worker") + " per target" },
			func(t *trial, n int) { t.Connections = n }},
	}
}

// baseTrial returns a trial of a contender at the base point.
func (b *Bench) baseTrial(name string) *trial {
	return &trial{
		setting: setting{Setup: contender.Setup{Name: name, Connections: contender.BaseWorkers}},
		spec:    load.Transfer{Senders: 2, Targets: 2, Line: b.size.line, Bytes: b.size.factor},
	}
}

// experiment is a factor with the table of its figures, which has a row for each contender and
// value.
type experiment struct {
	factor
	table *report.Table
}

func newExperiment(f factor) experiment {
	var rows []string
	for _, name := range f.contenders {
		for _, n := range f.values {
			rows = append(rows, fmt.Sprintf("%s, %s", name, f.label(n)))
		}
	}
	return experiment{f, report.NewTable(rows, transferColumns...)}
}

// row returns the number of a row of the table.
func (e experiment) row(name string, value int) int {
	return slices.Index(e.contenders, name)*len(e.values) + slices.Index(e.values, value)
}

// trials returns the trials of all experiments. A contender runs only once at the base point,
// although that has a row in several tables.
func (b *Bench) trials(all []experiment) (trials []*trial) {
	atBase := map[string]*trial{}
	for _, e := range all {
		for _, name := range e.contenders {
			for _, n := range e.values {
				t := b.baseTrial(name)
				e.set(t, n)
				t.label = e.table.Rows[e.row(name, n)]
				if n == e.base {
					if atBase[name] == nil {
						atBase[name] = t
						t.label = name + ", base point"
						trials = append(trials, t)
					}
					t = atBase[name]
				} else {
					trials = append(trials, t)
				}
				t.rows = append(t.rows, tableRow{e.table, e.row(name, n)})
			}
		}
	}
	return trials
}

func (b *Bench) experiments() (all []experiment) {
	for _, f := range b.allFactors() {
		all = append(all, newExperiment(f))
	}
	return all
}

func (b *Bench) factorsTime() float64 {
	return b.transferTime(len(b.trials(b.experiments())), b.size.factor, 1.2e9)
}

func (b *Bench) factors(ctx context.Context) (found []report.Section, err error) {
	all := b.experiments()
	if err := b.checkAndMeasure(ctx, b.trials(all)); err != nil {
		return nil, err
	}
	for _, e := range all {
		for _, name := range b.Available(contender.OldLinesplit, contender.Linesplit,
			contender.OldLinesplitConnection, contender.LinesplitConnection) {
			if from := e.row(name, e.values[0]); slices.Contains(e.contenders, name) {
				e.table.AddFlatness(name+": dearest / cheapest", 2, from, from+len(e.values))
			}
		}
		found = append(found, report.Section{
			Title: "One factor: " + e.title,
			About: fmt.Sprintf("The base point is two senders, two targets, lines of %d bytes and, in line mode, %d "+
				"connections to each target; only this is varied. %.1f GB per run over all senders; every byte arrived.",
				b.size.line, contender.BaseWorkers, float64(b.size.factor)/1e9),
			Table: e.table,
			Figures: []report.Figure{
				e.lines("MB/s", "throughput", ""),
				e.lines("CPU s/GB", "processor time", "-cpu"),
			},
		})
	}
	return found, nil
}

// lines returns a chart of one column over the values of the factor, with a line for each
// contender.
func (e experiment) lines(column, what, suffix string) report.Figure {
	f := report.Figure{
		Name:  "factor-" + e.name + suffix,
		Title: fmt.Sprintf("%s, by %s", strings.ToUpper(what[:1])+what[1:], e.title),
		Unit:  column,
		Axis:  e.axis,
		Kind:  report.KindLines,
	}
	for _, n := range e.values {
		label := fmt.Sprint(n)
		if e.name == "lines" {
			label = report.Size(n)
		}
		f.Labels = append(f.Labels, label)
	}
	for _, name := range e.contenders {
		s := report.Series{Name: name}
		for _, n := range e.values {
			s.Points = append(s.Points, e.table.Point(e.row(name, n), column))
		}
		f.Series = append(f.Series, s)
	}
	return f
}
