//go:build linux

package section

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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
	t, err := b.takePercentiles(ctx, b.lineContenders(), func(ctx context.Context, s contender.Setup) ([3]float64, error) {
		r, err := b.latencyRun(ctx, s, 1, b.size.rate)
		return r.percentiles, err
	})
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

// latencyResult holds what single lines took.
type latencyResult struct {
	percentiles [3]float64 // p50, p99 and p99.9 in microseconds
	seconds     float64
	meters      // processor times meanwhile
}

// latencyRun sends rate lines per second on each of a number of connections.
func (b *Bench) latencyRun(ctx context.Context, s contender.Setup, conns, rate int) (r latencyResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+2*time.Duration(b.size.seconds)*time.Second)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "latency", "-size", strconv.Itoa(b.size.line),
		"-conns", strconv.Itoa(conns), "-rate", strconv.Itoa(rate), "-count", strconv.Itoa(rate*b.size.seconds))
	if err != nil {
		return r, err
	}
	defer st.stop()
	before, err := readMeters(st.proxy, st.target)
	if err != nil {
		return r, err
	}
	begin := time.Now()
	fields, err := st.target.Ask("go "+strings.Join(st.to, " "), "latency")
	if err != nil {
		return r, err
	}
	r.seconds = time.Since(begin).Seconds()
	after, err := readMeters(st.proxy, st.target)
	if err != nil {
		return r, err
	}
	r.meters = after.since(before)
	if err := load.ParseFigures(fields, r.percentiles[:]); err != nil {
		return r, err
	}
	return r, st.proxy.Stop()
}
