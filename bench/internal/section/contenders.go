//go:build linux

package section

import (
	"slices"

	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// lineContenders returns the contenders in line mode.
func (b *Bench) lineContenders() []string {
	return b.Available(contender.Direct, contender.HAProxy, contender.Nginx, contender.Socat, contender.Rsyslog,
		contender.OldLinesplit, contender.Linesplit)
}

// forwarders returns the contenders in connection mode. rsyslog is not among them, as it forwards
// only lines.
func (b *Bench) forwarders() []string {
	return b.Available(contender.Direct, contender.HAProxy, contender.Nginx, contender.Socat, contender.IOCopy,
		contender.OldLinesplitConnection, contender.LinesplitConnection)
}

// bulkContenders returns the forwarders and HAProxy with splicing, which a user would enable for
// bulk data.
func (b *Bench) bulkContenders() []string {
	return b.Available(contender.Direct, contender.HAProxy, contender.HAProxySplicing, contender.Nginx, contender.Socat,
		contender.IOCopy, contender.OldLinesplitConnection, contender.LinesplitConnection)
}

// commonContenders returns the contenders that are compared in both modes.
func (b *Bench) commonContenders() []string {
	return b.Available(contender.HAProxy, contender.Nginx, contender.OldLinesplit, contender.Linesplit,
		contender.OldLinesplitConnection, contender.LinesplitConnection)
}

// addRatios adds a row with the ratio of ours to each other proxy in the table, to its old build
// among them, and one with the ratio of the old build to HAProxy.
func addRatios(t *report.Table, ours string) {
	for _, other := range []string{contender.HAProxy, contender.HAProxySplicing, contender.Nginx, contender.Socat,
		contender.Rsyslog, contender.IOCopy, contender.Old(ours)} {
		t.AddRatio(ours, other)
	}
	t.AddRatio(contender.Old(ours), contender.HAProxy)
}

// without returns the names that are not among some.
func without(names []string, some ...string) (others []string) {
	for _, name := range names {
		if !slices.Contains(some, name) {
			others = append(others, name)
		}
	}
	return others
}

// workDivisor divides the bytes that a slow contender moves, so that its run takes about as long as
// the others'. This does not distort the figures, which are rates.
func workDivisor(name string) int64 {
	switch name {
	case contender.Rsyslog, contender.RsyslogDisk, contender.SyslogNG:
		return 10
	}
	return 1
}
