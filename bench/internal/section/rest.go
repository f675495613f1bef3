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
	"linesplit/bench/internal/procstat"
	"linesplit/bench/report"
)

// restConns is the number of senders of a resting proxy, and of linesplit's connections to the two
// targets. Other proxies have one connection to a target for each sender.
const restConns = 2 * contender.BaseWorkers

// restSettle is the time between the last line and the begin of the measurement.
const restSettle = time.Second

func (b *Bench) restContenders() []string { return without(b.lineContenders(), contender.Direct) }

func (b *Bench) restTime() float64 {
	perRun := 0.7 + restSettle.Seconds() + b.size.rest.Seconds()
	return float64(b.Reps*len(b.restContenders())) * perRun
}

func (b *Bench) rest(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.restContenders(), "CPU % of a core")
	err := b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		cpu, err := b.restRun(ctx, t.Setup)
		if err != nil {
			return "", err
		}
		t.add(100 * cpu)
		return fmt.Sprintf("%.3f %% of a core", 100*cpu), nil
	})
	addRatios(t, contender.Linesplit)
	return []report.Section{{
		Title: "Line mode: at rest",
		About: fmt.Sprintf("%d senders have sent a line each and stay connected, with %d connections to two targets: "+
			"the processor time in %.0f s in which nothing happens.",
			restConns, restConns, b.size.rest.Seconds()),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "rest", "Line mode: processor time at rest", "% of a core", t.Columns...)},
	}}, err
}

// restRun returns the part of a core that a proxy takes when its senders send nothing.
func (b *Bench) restRun(ctx context.Context, s contender.Setup) (cpu float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute+b.size.rest)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "sink")
	if err != nil {
		return 0, err
	}
	defer st.stop()
	senders, err := load.Spawn(ctx, "idle", "-to", strings.Join(st.to, ","), "-size", strconv.Itoa(b.size.line))
	if err != nil {
		return 0, err
	}
	defer senders.Stop()
	if err := openIdle(ctx, st.proxy.PID(), senders, restConns); err != nil {
		return 0, err
	}
	if err := b.oneLineEach(senders, st.target, restConns); err != nil {
		return 0, err
	}
	if cpu, err = cpuWhile(ctx, st.proxy, b.size.rest); err != nil {
		return 0, err
	}
	senders.Stop()
	return cpu, st.proxy.Stop()
}

// cpuWhile returns the part of a core that a proxy takes during d, after restSettle.
func cpuWhile(ctx context.Context, p *contender.Proxy, d time.Duration) (float64, error) {
	if err := procstat.Pause(ctx, restSettle); err != nil {
		return 0, err
	}
	begin := time.Now()
	before, err := p.CPU()
	if err != nil {
		return 0, err
	}
	if err := procstat.Pause(ctx, d); err != nil {
		return 0, err
	}
	after, err := p.CPU()
	return (after - before) / time.Since(begin).Seconds(), err
}
