//go:build linux

package section

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/report"
)

// takePercentiles measures each contender with run, which returns p50, p99 and p99.9 in
// microseconds.
func (b *Bench) takePercentiles(
	ctx context.Context, names []string, run func(context.Context, contender.Setup) ([3]float64, error),
) (*report.Table, error) {
	t, trials := newTrials(names, "p50 µs", "p99 µs", "p99.9 µs")
	err := b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		p, err := run(ctx, t.Setup)
		if err != nil {
			return "", err
		}
		t.add(p[:]...)
		return fmt.Sprintf("%.0f %.0f %.0f µs", p[0], p[1], p[2]), nil
	})
	return t, err
}

func (b *Bench) latencyTime() float64 {
	return float64(b.Reps*len(b.lineContenders())) * (0.2 + float64(b.size.seconds))
}

func (b *Bench) latency(ctx context.Context) ([]report.Section, error) {
	t, err := b.takePercentiles(ctx, b.lineContenders(), b.latencyRun)
	addRatios(t, contender.Linesplit)
	return []report.Section{{
		Title: "Line mode: latency",
		About: fmt.Sprintf("Single lines of %d bytes, %d per second, evenly spaced on one connection, %d s per run. "+
			"Measured in one process that holds both ends, from just before the write until the whole line has been read.",
			b.size.line, b.size.rate, b.size.seconds),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "latency", "Line mode: latency of single lines", "µs", t.Columns...)},
	}}, err
}

// latencyRun returns p50, p99 and p99.9 in microseconds.
func (b *Bench) latencyRun(ctx context.Context, s contender.Setup) (p [3]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+2*time.Duration(b.size.seconds)*time.Second)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "latency", "-size", strconv.Itoa(b.size.line),
		"-rate", strconv.Itoa(b.size.rate), "-count", strconv.Itoa(b.size.rate*b.size.seconds))
	if err != nil {
		return p, err
	}
	defer st.stop()
	fields, err := st.target.Ask("go "+st.to[0], "latency")
	if err != nil {
		return p, err
	}
	if err := load.ParseFigures(fields, p[:]); err != nil {
		return p, err
	}
	return p, st.proxy.Stop()
}
