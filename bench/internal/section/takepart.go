//go:build linux

package section

import (
	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// lineContenders returns who takes part in line mode's sections.
func (b *Bench) lineContenders() []string {
	return b.Present(contender.Direct, contender.HAProxy, contender.Nginx, contender.Socat, contender.Rsyslog, contender.Linesplit)
}

// forwarders returns who takes part in connection mode's sections. rsyslog does not: it knows lines alone.
func (b *Bench) forwarders() []string {
	return b.Present(contender.Direct, contender.HAProxy, contender.Nginx, contender.Socat, contender.Copier, contender.Relaying)
}

// bulkContenders are the forwarders, and HAProxy once more: splicing is what one would switch on for this.
func (b *Bench) bulkContenders() []string {
	return b.Present(contender.Direct, contender.HAProxy, contender.Splicing, contender.Nginx, contender.Socat, contender.Copier, contender.Relaying)
}

// addRatios adds a row for each that ours is held against, where both are in the table.
func addRatios(t *report.Table, ours string) {
	for _, other := range []string{contender.HAProxy, contender.Splicing, contender.Nginx, contender.Socat, contender.Rsyslog, contender.Copier} {
		t.AddRatio(ours, other)
	}
}

// part is how much less of some work a contender is given, so that it is done in about the time of the others: the figures are rates.
func part(name string) int64 {
	if name == contender.Rsyslog {
		return 10
	}
	return 1
}
