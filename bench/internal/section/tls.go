//go:build linux

package section

import (
	"context"
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// tlsWays are the ways to stand between plain connections and TLS.
var tlsWays = []contender.Legs{{In: true}, {Out: true}, {In: true, Out: true}}

func (b *Bench) tlsContenders(way contender.Legs) []string {
	names := b.Present(contender.HAProxy, contender.Nginx, contender.Linesplit, contender.Relaying)
	if way.In && way.Out {
		return append([]string{contender.Direct}, names...)
	}
	return names
}

func (b *Bench) tlsTime() (seconds float64) {
	for _, way := range tlsWays {
		seconds += b.transferTime(len(b.tlsContenders(way)), b.size.tls, 0.4e9)
	}
	return seconds
}

func (b *Bench) tls(ctx context.Context) ([]report.Section, error) {
	spec := load.Transfer{Senders: 4, Targets: 2, Line: b.size.line, Bytes: b.size.tls}
	var all []*trial
	var found []report.Section
	for _, way := range tlsWays {
		t, trials := oneTable(b.tlsContenders(way), transferColumns...)
		for _, trial := range trials {
			trial.TLS, trial.label = way, fmt.Sprintf("%s, %s", trial.Name, way)
		}
		all = append(all, trials...)
		found = append(found, report.Section{Title: way.String(), About: b.aboutTLS(way, spec), Table: t})
	}
	if err := b.transfers(ctx, all, spec); err != nil {
		return nil, err
	}
	var tables []*report.Table
	for _, s := range found {
		s.Table.Hide(contender.Direct, 2, 3)
		addRatios(s.Table, contender.Linesplit)
		addRatios(s.Table, contender.Relaying)
		tables = append(tables, s.Table)
	}
	rows, series := b.Present(contender.HAProxy, contender.Nginx, contender.Linesplit, contender.Relaying), []string{tlsWays[0].String(), tlsWays[1].String(), tlsWays[2].String()}
	found[len(found)-1].Figures = []report.Figure{
		report.Grouped(rows, series, tables, "tls", "TLS: throughput", "MB/s", "MB/s"),
		report.Grouped(rows, series, tables, "tls-cpu", "TLS: processor time", "CPU s/GB", "CPU s/GB"),
	}
	return found, nil
}

func (b *Bench) aboutTLS(way contender.Legs, spec load.Transfer) string {
	what := map[contender.Legs]string{
		tlsWays[0]: "Senders speak TLS, targets do not.",
		tlsWays[1]: "Senders speak plainly, targets speak TLS.",
		tlsWays[2]: "Senders and targets speak TLS; direct is one connection instead of two.",
	}[way]
	return fmt.Sprintf("%s Four senders, two targets, lines of %d bytes, %.1f GB per run; TLS 1.3 with %s on both sides, targets' certificates verified; "+
		"every byte arrived, and in a run before every line was looked at. The handshakes are not in it.", what, spec.Line, float64(spec.Bytes)/1e9, load.SuiteName)
}
