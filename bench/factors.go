//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

func (b *bench) allFactors() []factor {
	base := b.baseTrial("")
	everybody := b.present(haproxy, nginx, linesplit, relaying)
	return []factor{
		{"lines", "length of lines", "length of lines", everybody, b.size.lines, base.spec.line, size,
			func(t *trial, n int) { t.spec.line = n }},
		{"senders", "number of senders", "senders", everybody, b.size.senders, base.spec.senders, func(n int) string { return count(n, "sender") },
			func(t *trial, n int) { t.spec.senders = n }},
		{"targets", "number of targets", "targets", everybody, b.size.targets, base.spec.targets, func(n int) string { return count(n, "target") },
			func(t *trial, n int) { t.spec.targets = n }},
		{"workers", "linesplit's workers (-connections)", "connections to each target", []string{linesplit}, b.size.workers, baseWorkers,
			func(n int) string { return count(n, "worker") + " per target" }, func(t *trial, n int) { t.connections = n }},
	}
}

// baseTrial is a contender at the base point.
func (b *bench) baseTrial(name string) *trial {
	return &trial{setup: setup{name: name, connections: baseWorkers}, spec: transferSpec{senders: 2, targets: 2, line: b.size.line, bytes: b.size.factor}}
}

// experiment is what belongs to one factor: a row for each contender and value.
type experiment struct {
	factor
	table *table
}

func newExperiment(f factor) experiment {
	var rows []string
	for _, who := range f.who {
		for _, n := range f.all {
			rows = append(rows, fmt.Sprintf("%s, %s", who, f.label(n)))
		}
	}
	return experiment{f, newTable(rows, transferColumns...)}
}

func (e experiment) row(who string, value int) int {
	return slices.Index(e.who, who)*len(e.all) + slices.Index(e.all, value)
}

// trials returns all that must be run for some experiments: the base point of a contender once, though it has a row in several tables.
func (b *bench) trials(all []experiment) (trials []*trial) {
	atBase := map[string]*trial{}
	for _, e := range all {
		for _, who := range e.who {
			for _, n := range e.all {
				t := b.baseTrial(who)
				e.set(t, n)
				t.label = e.table.rows[e.row(who, n)]
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

func (b *bench) experiments() (all []experiment) {
	for _, f := range b.allFactors() {
		all = append(all, newExperiment(f))
	}
	return all
}

func (b *bench) factorsTime() float64 {
	return b.transferTime(len(b.trials(b.experiments())), b.size.factor, 1.2e9)
}

func (b *bench) factors(ctx context.Context) (found []section, err error) {
	all := b.experiments()
	if err := b.transferTurns(ctx, b.trials(all)); err != nil {
		return nil, err
	}
	for _, e := range all {
		for _, who := range []string{linesplit, relaying} {
			if from := e.row(who, e.all[0]); slices.Contains(e.who, who) {
				e.table.addFlatness(who+": dearest / cheapest", 2, from, from+len(e.all))
			}
		}
		found = append(found, section{
			title: "One factor: " + e.title,
			about: fmt.Sprintf("The base point is two senders, two targets, lines of %d bytes and, in line mode, %d connections to each target; this alone is varied. "+
				"%.1f GB per run over all senders; every byte arrived.", b.size.line, baseWorkers, float64(b.size.factor)/1e9),
			table: e.table,
			figures: []figure{
				e.lines("MB/s", "throughput", ""),
				e.lines("CPU s/GB", "processor time", "-cpu"),
			},
		})
	}
	return found, nil
}

// lines draws one column over the values of the factor, a line for each contender.
func (e experiment) lines(column, what, suffix string) figure {
	f := figure{Name: "factor-" + e.name + suffix, Title: fmt.Sprintf("%s, by %s", strings.ToUpper(what[:1])+what[1:], e.title), Unit: column, Axis: e.axis, Kind: kindLines}
	for _, n := range e.all {
		label := fmt.Sprint(n)
		if e.name == "lines" {
			label = size(n)
		}
		f.Labels = append(f.Labels, label)
	}
	for _, who := range e.who {
		s := series{Name: who}
		for _, n := range e.all {
			s.Points = append(s.Points, e.table.point(e.row(who, n), column))
		}
		f.Series = append(f.Series, s)
	}
	return f
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size shows a number of bytes.
func size(n int) string {
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
