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

const (
	messageSize = 100 // bytes in each direction
	warmupCalls = 500 // connections that come first and are not counted
)

func (b *Bench) connectionsTime() float64 {
	return float64(b.Reps*len(b.forwarders())) * (0.3 + float64(b.size.calls)/9000)
}

func (b *Bench) connections(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.forwarders(), "connections/s", "CPU s per 10,000", "both ends CPU s per 10,000")
	err := b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		n := b.callCount(t.Name)
		seconds, cpu, err := b.connectionsRun(ctx, t.Setup, n)
		if err != nil {
			return "", err
		}
		perSecond, each, ends := float64(n)/seconds, cpu.proxy/float64(n)*1e4, cpu.ends/float64(n)*1e4
		t.add(perSecond, each, ends)
		return fmt.Sprintf("%6.0f/s  %.3f CPU s per 10,000", perSecond, each), nil
	})
	t.Hide(contender.Direct, 1)
	addRatios(t, contender.LinesplitConnection)
	return []report.Section{{
		Title: "Connection mode: connections",
		About: fmt.Sprintf("%d connections per run (socat: %d) to two targets, %d at a time: connect, %d bytes there, "+
			"the same %d back, close.",
			b.size.calls, b.callCount(contender.Socat), load.MaxCalls, messageSize, messageSize),
		Table: t,
		Figures: []report.Figure{
			report.Bars(t, "connections", "Connection mode: short connections", "connections/s", "connections/s"),
			report.Dots(t, "connections-cpu", "Connection mode: processor time", "CPU s per 10,000 connections",
				"CPU s per 10,000"),
		},
	}}, err
}

// callCount returns how many connections a contender gets. socat gets fewer, as it forks for each.
func (b *Bench) callCount(name string) int {
	if name == contender.Socat {
		return b.size.calls / 10
	}
	return b.size.calls
}

// connectionsRun returns how long n connections took, in seconds, and the processor times until the
// targets had seen all of them end.
func (b *Bench) connectionsRun(ctx context.Context, s contender.Setup, n int) (seconds float64, cpu meters, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "echo")
	if err != nil {
		return 0, cpu, err
	}
	defer st.stop()
	caller, err := load.Spawn(ctx, "call", "-to", strings.Join(st.to, ","), "-size", strconv.Itoa(messageSize))
	if err != nil {
		return 0, cpu, err
	}
	defer caller.Stop()
	if _, err := load.Call(caller, st.target, warmupCalls, warmupCalls); err != nil {
		return 0, cpu, err
	}
	before, err := readMeters(st.proxy, caller, st.target)
	if err != nil {
		return 0, cpu, err
	}
	if seconds, err = load.Call(caller, st.target, n, warmupCalls+n); err != nil {
		return 0, cpu, err
	}
	after, err := readMeters(st.proxy, caller, st.target)
	if err != nil {
		return 0, cpu, err
	}
	return seconds, after.since(before), st.proxy.Stop()
}
