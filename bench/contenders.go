//go:build linux

package main

// The contenders.
const (
	direct    = "direct"
	haproxy   = "HAProxy"
	splicing  = "HAProxy splicing"
	nginx     = "nginx stream"
	socat     = "socat"
	rsyslog   = "rsyslog"
	copier    = "io.Copy"
	linesplit = "linesplit" // in line mode
	relaying  = "linesplit -mode connection"
)

// setup is a contender, and how it is to stand between senders and targets.
type setup struct {
	name        string
	tls         legs
	connections int // to each target, where linesplit is in line mode; 0: as at the base point
}

// baseWorkers is how many connections to each target linesplit has at the base point.
const baseWorkers = 4

func (s setup) workers() int {
	if s.connections == 0 {
		return baseWorkers
	}
	return s.connections
}

// here says whether a contender can take part.
func (l *launcher) here(name string) bool {
	switch p := l.programs; name {
	case haproxy, splicing:
		return p.haproxy != ""
	case nginx:
		return p.nginx.path != ""
	case socat:
		return p.socat != ""
	case rsyslog:
		return p.rsyslog != ""
	}
	return true
}

// present returns those of names that can take part.
func (l *launcher) present(names ...string) (here []string) {
	for _, name := range names {
		if l.here(name) {
			here = append(here, name)
		}
	}
	return here
}

// lineContenders returns who takes part in line mode's sections.
func (b *bench) lineContenders() []string {
	return b.present(direct, haproxy, nginx, socat, rsyslog, linesplit)
}

// forwarders returns who takes part in connection mode's sections. rsyslog does not: it knows lines alone.
func (b *bench) forwarders() []string {
	return b.present(direct, haproxy, nginx, socat, copier, relaying)
}

// addRatios adds a row for each that ours is held against, where both are in the table.
func addRatios(t *table, ours string) {
	for _, other := range []string{haproxy, splicing, nginx, socat, rsyslog, copier} {
		t.addRatio(ours, other)
	}
}

// part is how much less of some work a contender is given, so that it is done in about the time of the others: the figures are rates.
func part(name string) int64 {
	if name == rsyslog {
		return 10
	}
	return 1
}
