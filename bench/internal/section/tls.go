//go:build linux

package section

import (
	"context"
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// tlsLegs are the combinations of plain and TLS connections that are measured.
var tlsLegs = []contender.Legs{{In: true}, {Out: true}, {In: true, Out: true}}

func (b *Bench) tlsContenders(legs contender.Legs) []string {
	names := b.commonContenders()
	if legs.In && legs.Out {
		return append([]string{contender.Direct}, names...)
	}
	return names
}

func (b *Bench) tlsTime() (seconds float64) {
	for _, legs := range tlsLegs {
		seconds += b.transferTime(len(b.tlsContenders(legs)), b.size.tls, 0.4e9)
	}
	return seconds
}

func (b *Bench) tls(ctx context.Context) ([]report.Section, error) {
	spec := load.Transfer{Senders: 4, Targets: 2, Line: b.size.line, Bytes: b.size.tls}
	var all []*trial
	var found []report.Section
	for _, legs := range tlsLegs {
		t, trials := newTrials(b.tlsContenders(legs), transferColumns...)
		for _, trial := range trials {
			trial.TLS, trial.label = legs, fmt.Sprintf("%s, %s", trial.Name, legs)
		}
		all = append(all, trials...)
		found = append(found, report.Section{Title: legs.String(), About: b.aboutTLS(legs, spec), Table: t})
	}
	if err := b.transferAll(ctx, all, spec); err != nil {
		return nil, err
	}
	var tables []*report.Table
	for _, s := range found {
		s.Table.Hide(contender.Direct, proxyColumns...)
		addRatios(s.Table, contender.Linesplit)
		addRatios(s.Table, contender.LinesplitConnection)
		tables = append(tables, s.Table)
	}
	rows := b.commonContenders()
	series := []string{tlsLegs[0].String(), tlsLegs[1].String(), tlsLegs[2].String()}
	found[len(found)-1].Figures = []report.Figure{
		report.Grouped(rows, series, tables, "tls", "TLS: throughput", "MB/s", "MB/s"),
		report.Grouped(rows, series, tables, "tls-cpu", "TLS: processor time", "CPU s/GB", "CPU s/GB"),
	}
	return found, nil
}

func (b *Bench) aboutTLS(legs contender.Legs, spec load.Transfer) string {
	what := map[contender.Legs]string{
		tlsLegs[0]: "Senders speak TLS, targets do not.",
		tlsLegs[1]: "Targets speak TLS, senders do not.",
		tlsLegs[2]: "Senders and targets speak TLS; direct is one connection instead of two.",
	}[legs]
	return fmt.Sprintf("%s Four senders, two targets, lines of %d bytes, %.1f GB per run; TLS 1.3 with %s on both sides, "+
		"targets' certificates verified; every byte arrived, and in a run before every line was checked. The handshakes "+
		"are not included.",
		what, spec.Line, float64(spec.Bytes)/1e9, load.SuiteName)
}
