//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// newReport begins a report: it notes the machine's state.
func (b *bench) newReport(ctx context.Context) *report {
	r := &report{loadBefore: load()}
	r.facts = []string{
		time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%s, %s, %s %s", cpuModel(), count(runtime.NumCPU(), "processor"), kernel(), runtime.GOARCH),
		strings.TrimSpace(fmt.Sprintf("%s, GOMAXPROCS=%d %s", version(ctx, b.linesplit, "-version"), b.threads, b.flags)),
	}
	r.facts = append(r.facts, programFacts(ctx, b.programs, b.threads)...)
	r.facts = append(r.facts,
		fmt.Sprintf("medians of %s, lowest and highest beside them; contenders took turns; all on the loopback", count(b.Reps, "repetition")),
		fmt.Sprintf("a figure with a ? (hollow in charts) has a range wider than %.0f %% of it: the machine was too noisy to rely on it", noisy*100))
	if b.Quick {
		r.facts = append(r.facts, "a quick run, to see that all works: these figures are worth nothing")
	}
	return r
}

// finish puts the glances in front, and adds what must be said about the figures.
func (b *bench) finish(r *report) {
	r.sections = append(b.glances(r.sections), r.sections...)
	r.warnings = append(r.warnings, b.notes...)
	r.warn()
}

// programFacts returns a line about each: what it calls itself and how it is set up, or that it is not here.
func programFacts(ctx context.Context, p programs, threads int) (facts []string) {
	for _, one := range []struct{ name, path, flag, about string }{
		{haproxy, p.haproxy, "-v", fmt.Sprintf("mode tcp, one listen section, nbthread %d; with splicing where that is said", threads)},
		{nginx, p.nginx.path, "-v", fmt.Sprintf("stream module, worker_processes %d", threads)},
		{socat, p.socat, "-V", "a process for each connection, all to the first target"},
		{rsyslog, p.rsyslog, "-v", fmt.Sprintf("imtcp, one queue in memory, %s, omfwd to a target at random", count(threads, "worker"))},
	} {
		if one.path == "" {
			facts = append(facts, one.name+": not here, so not measured")
		} else {
			facts = append(facts, version(ctx, one.path, one.flag)+", "+one.about)
		}
	}
	return append(facts, fmt.Sprintf("%s: a proxy of fifty lines in this benchmark, GOMAXPROCS=%d", copier, threads))
}
