//go:build linux

package section

import (
	"context"
	"fmt"

	"linesplit/bench/internal/contender"
	"linesplit/bench/report"
)

// trickleSenders is the number of senders that send single lines, each at an equal part of the
// rate.
const trickleSenders = 2

func (b *Bench) trickleTime() float64 {
	return float64(b.Reps*len(b.lineContenders())) * (0.2 + float64(b.size.seconds))
}

func (b *Bench) trickle(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.lineContenders(), "CPU % of a core", "p50 µs", "p99 µs", "p99.9 µs", "both ends, CPU %")
	err := b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		r, err := b.latencyRun(ctx, t.Setup, trickleSenders, b.size.rate/trickleSenders)
		if err != nil {
			return "", err
		}
		cpu, ends, p := 100*r.proxy/r.seconds, 100*r.ends/r.seconds, r.percentiles
		t.add(cpu, p[0], p[1], p[2], ends)
		return fmt.Sprintf("%.2f %% of a core  %.0f %.0f %.0f µs", cpu, p[0], p[1], p[2]), nil
	})
	t.Hide(contender.Direct, 0)
	addRatios(t, contender.Linesplit)
	return []report.Section{{
		Title: "Line mode: trickle",
		About: fmt.Sprintf("%d senders with %d single lines of %d bytes per second each, in turn at even distances, to two "+
			"targets, %d s per run: the processor time of the proxy and the delay of the lines. Both ends are one process, "+
			"which blocks in the kernel between lines.",
			trickleSenders, b.size.rate/trickleSenders, b.size.line, b.size.seconds),
		Table: t,
		Figures: []report.Figure{
			report.Dots(t, "trickle", "Line mode: processor time of a trickle", "% of a core", "CPU % of a core"),
			report.Dots(t, "trickle-latency", "Line mode: latency of a trickle", "µs", "p50 µs", "p99 µs", "p99.9 µs"),
		},
	}}, err
}
