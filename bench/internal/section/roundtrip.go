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

func (b *Bench) roundtripTime() float64 {
	return float64(b.Reps*len(b.forwarders())) * (0.2 + float64(load.WarmupTrips+b.size.trips)/float64(b.size.rate))
}

// roundtrip measures round trips at a fixed rate. Without pauses between them the result depends
// mostly on the processors that the kernel chose for the three processes: the p50 of the same proxy
// was 28 µs in one run and 170 µs in the next.
func (b *Bench) roundtrip(ctx context.Context) ([]report.Section, error) {
	t, err := b.takePercentiles(ctx, b.forwarders(), b.roundtripRun)
	addRatios(t, contender.LinesplitConnection)
	return []report.Section{{
		Title: "Connection mode: round trip",
		About: fmt.Sprintf("%d round trips of %d bytes per run, %d per second, evenly spaced on one connection: from just "+
			"before the write until all bytes have come back.",
			b.size.trips, messageSize, b.size.rate),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "roundtrip", "Connection mode: round trip", "µs", t.Columns...)},
	}}, err
}

// roundtripRun returns p50, p99 and p99.9 in microseconds.
func (b *Bench) roundtripRun(ctx context.Context, s contender.Setup) (p [3]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "echo")
	if err != nil {
		return p, err
	}
	defer st.stop()
	client, err := load.Spawn(ctx, "roundtrip", "-to", st.to[0], "-size", strconv.Itoa(messageSize),
		"-rate", strconv.Itoa(b.size.rate), "-count", strconv.Itoa(b.size.trips))
	if err != nil {
		return p, err
	}
	defer client.Stop()
	fields, err := client.Await("roundtrip")
	if err != nil {
		return p, err
	}
	if err := load.ParseFigures(fields, p[:]); err != nil {
		return p, err
	}
	client.Stop()
	return p, st.proxy.Stop()
}
