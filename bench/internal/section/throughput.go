//go:build linux

package section

import (
	"context"
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// aboutEnds explains what the last columns of transferColumns mean.
const aboutEnds = "Senders write blocks from memory, targets drop what they get without copying it. The last columns " +
	"say how many cores they and the proxy keep busy, and the row direct how fast they are without a proxy."

func (b *Bench) throughputTime() float64 {
	return b.transferTime(len(b.lineContenders()), b.size.throughput, 1.1e9)
}

func (b *Bench) throughput(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.lineContenders(), transferColumns...)
	spec := load.Transfer{Senders: 2, Targets: 2, Line: b.size.line, Bytes: b.size.throughput, First: b.size.first}
	warm := addWarm(trials)
	if err := b.transferAll(ctx, trials, spec); err != nil {
		return nil, err
	}
	t.Hide(contender.Direct, proxyColumns...)
	addRatios(t, contender.Linesplit)
	throughput := report.Section{
		Title: "Line mode: throughput",
		About: fmt.Sprintf("Two senders, two targets (linesplit: %d connections to each), lines of %d bytes, "+
			"%.1f GB per run (rsyslog: a tenth); every byte arrived. In a run before, every line was checked. "+
			"Only linesplit and rsyslog split what one sender sends. "+aboutEnds,
			contender.BaseWorkers, spec.Line, float64(spec.Bytes)/1e9),
		Table: t,
		Figures: []report.Figure{
			report.Bars(t, "throughput", "Line mode: throughput", "MB/s", "MB/s"),
			report.Dots(t, "throughput-cpu", "Line mode: processor time", "CPU s/GB", "CPU s/GB"),
		},
	}
	return []report.Section{throughput, b.warmSection(warm)}, nil
}

func (b *Bench) bulkTime() float64 {
	return b.transferTime(len(b.bulkContenders()), b.size.bulk, 1.4e9)
}

func (b *Bench) bulk(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.bulkContenders(), transferColumns...)
	spec := load.Transfer{Senders: 4, Targets: 2, Line: b.size.line, Bytes: b.size.bulk}
	if err := b.transferAll(ctx, trials, spec); err != nil {
		return nil, err
	}
	t.Hide(contender.Direct, proxyColumns...)
	addRatios(t, contender.LinesplitConnection)
	return []report.Section{{
		Title: "Connection mode: bulk",
		About: fmt.Sprintf("Four connections from clients to two targets (socat: to one), %.1f GB per run over all; "+
			"every byte arrived. In a run before, every line was checked.", float64(spec.Bytes)/1e9),
		Table: t,
		Figures: []report.Figure{
			report.Bars(t, "bulk", "Connection mode: bulk", "MB/s", "MB/s"),
			report.Bars(t, "bulk-cpu", "Connection mode: processor time", "CPU s/GB", "CPU s/GB"),
		},
	}}, nil
}
