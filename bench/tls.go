//go:build linux

package main

import (
	"context"
	"fmt"
)

// tlsWays are the ways to stand between plain connections and TLS.
var tlsWays = []legs{{in: true}, {out: true}, {in: true, out: true}}

func (b *bench) tlsContenders(way legs) []string {
	names := b.present(haproxy, nginx, linesplit, relaying)
	if way.in && way.out {
		return append([]string{direct}, names...)
	}
	return names
}

func (b *bench) tlsTime() (seconds float64) {
	for _, way := range tlsWays {
		seconds += b.transferTime(len(b.tlsContenders(way)), b.size.tls, 0.4e9)
	}
	return seconds
}

func (b *bench) tls(ctx context.Context) ([]section, error) {
	spec := transferSpec{senders: 4, targets: 2, line: b.size.line, bytes: b.size.tls}
	var all []*trial
	var found []section
	for _, way := range tlsWays {
		t, trials := oneTable(b.tlsContenders(way), transferColumns...)
		for _, trial := range trials {
			trial.tls, trial.label = way, fmt.Sprintf("%s, %s", trial.name, way)
		}
		all = append(all, trials...)
		found = append(found, section{title: way.String(), about: b.aboutTLS(way, spec), table: t})
	}
	if err := b.transfers(ctx, all, spec); err != nil {
		return nil, err
	}
	var tables []*table
	for _, s := range found {
		s.table.hide(direct, 2, 3)
		addRatios(s.table, linesplit)
		addRatios(s.table, relaying)
		tables = append(tables, s.table)
	}
	rows, series := b.present(haproxy, nginx, linesplit, relaying), []string{tlsWays[0].String(), tlsWays[1].String(), tlsWays[2].String()}
	found[len(found)-1].figures = []figure{
		grouped(rows, series, tables, "tls", "TLS: throughput", "MB/s", "MB/s"),
		grouped(rows, series, tables, "tls-cpu", "TLS: processor time", "CPU s/GB", "CPU s/GB"),
	}
	return found, nil
}

func (b *bench) aboutTLS(way legs, spec transferSpec) string {
	what := map[legs]string{
		tlsWays[0]: "Senders speak TLS, targets do not.",
		tlsWays[1]: "Senders speak plainly, targets speak TLS.",
		tlsWays[2]: "Senders and targets speak TLS; direct is one connection instead of two.",
	}[way]
	return fmt.Sprintf("%s Four senders, two targets, lines of %d bytes, %.1f GB per run; TLS 1.3 with %s on both sides, targets' certificates verified; "+
		"every byte arrived, and in a run before every line was looked at. The handshakes are not in it.", what, spec.line, float64(spec.bytes)/1e9, suiteName)
}
