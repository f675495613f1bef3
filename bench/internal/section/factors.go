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

// factor is what is varied while all else stays as at the base point.
type factor struct {
	name  string // of its charts
	title string
	axis  string // what its values are, for charts
	who   []string
	all   []int
	base  int
	label func(int) string
	set   func(*trial, int)
}

func (b *Bench) allFactors() []factor {
	base := b.baseTrial("")
	everybody := b.Present(contender.HAProxy, contender.Nginx, contender.Linesplit, contender.Relaying)
	return []factor{
		{"lines", "length of lines", "length of lines", everybody, b.size.lines, base.spec.Line, report.Size,
			func(t *trial, n int) { t.spec.Line = n }},
		{"senders", "number of senders", "senders", everybody, b.size.senders, base.spec.Senders, func(n int) string { return report.Count(n, "sender") },
			func(t *trial, n int) { t.spec.Senders = n }},
		{"targets", "number of targets", "targets", everybody, b.size.targets, base.spec.Targets, func(n int) string { return report.Count(n, "target") },
			func(t *trial, n int) { t.spec.Targets = n }},
		{"workers", "linesplit's workers (-connections)", "connections to each target", []string{contender.Linesplit}, b.size.workers, contender.BaseWorkers,
			func(n int) string { return report.Count(n, "worker") + " per target" }, func(t *trial, n int) { t.Connections = n }},
	}
}

// baseTrial is a contender at the base point.
func (b *Bench) baseTrial(name string) *trial {
	return &trial{Setup: contender.Setup{Name: name, Connections: contender.BaseWorkers}, spec: load.Transfer{Senders: 2, Targets: 2, Line: b.size.line, Bytes: b.size.factor}}
}

// experiment is what belongs to one factor: a row for each contender and value.
type experiment struct {
	factor
	table *report.Table
}

func newExperiment(f factor) experiment {
	var rows []string
	for _, who := range f.who {
		for _, n := range f.all {
			rows = append(rows, fmt.Sprintf("%s, %s", who, f.label(n)))
		}
	}
	return experiment{f, report.NewTable(rows, transferColumns...)}
}

func (e experiment) row(who string, value int) int {
	return slices.Index(e.who, who)*len(e.all) + slices.Index(e.all, value)
}

// trials returns all that must be run for some experiments: the base point of a contender once, though it has a row in several tables.
func (b *Bench) trials(all []experiment) (trials []*trial) {
	atBase := map[string]*trial{}
	for _, e := range all {
		for _, who := range e.who {
			for _, n := range e.all {
				t := b.baseTrial(who)
				e.set(t, n)
				t.label = e.table.Rows[e.row(who, n)]
				if n == e.base {
					if atBase[who] == nil {
						atBase[who] = t
						t.label = who + ", base point"
						trials = append(trials, t)
					}
					t = atBase[who]
				} else {
					trials = append(trials, t)
				}
				t.places = append(t.places, place{e.table, e.row(who, n)})
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
	if err := b.transferTurns(ctx, b.trials(all)); err != nil {
		return nil, err
	}
	for _, e := range all {
		for _, who := range []string{contender.Linesplit, contender.Relaying} {
			if from := e.row(who, e.all[0]); slices.Contains(e.who, who) {
				e.table.AddFlatness(who+": dearest / cheapest", 2, from, from+len(e.all))
			}
		}
		found = append(found, report.Section{
			Title: "One factor: " + e.title,
			About: fmt.Sprintf("The base point is two senders, two targets, lines of %d bytes and, in line mode, %d connections to each target; this alone is varied. "+
				"%.1f GB per run over all senders; every byte arrived.", b.size.line, contender.BaseWorkers, float64(b.size.factor)/1e9),
			Table: e.table,
			Figures: []report.Figure{
				e.lines("MB/s", "throughput", ""),
				e.lines("CPU s/GB", "processor time", "-cpu"),
			},
		})
	}
	return found, nil
}

// lines draws one column over the values of the factor, a line for each contender.
func (e experiment) lines(column, what, suffix string) report.Figure {
	f := report.Figure{Name: "factor-" + e.name + suffix, Title: fmt.Sprintf("%s, by %s", strings.ToUpper(what[:1])+what[1:], e.title), Unit: column, Axis: e.axis, Kind: report.KindLines}
	for _, n := range e.all {
		label := fmt.Sprint(n)
		if e.name == "lines" {
			label = report.Size(n)
		}
		f.Labels = append(f.Labels, label)
	}
	for _, who := range e.who {
		s := report.Series{Name: who}
		for _, n := range e.all {
			s.Points = append(s.Points, e.table.Point(e.row(who, n), column))
		}
		f.Series = append(f.Series, s)
	}
	return f
}
