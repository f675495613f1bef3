//go:build linux

package section

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/procstat"
	"linesplit/bench/report"
)

// NewReport begins a report: it notes the machine's state.
func (b *Bench) NewReport(ctx context.Context) *report.Report {
	r := &report.Report{LoadBefore: procstat.Load()}
	r.Facts = []string{
		time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%s, %s, %s %s", procstat.CPUModel(), report.Count(runtime.NumCPU(), "processor"), procstat.Kernel(), runtime.GOARCH),
		strings.TrimSpace(fmt.Sprintf("%s, GOMAXPROCS=%d %s", contender.Version(ctx, b.Linesplit, "-version"), b.Threads, b.Flags)),
	}
	r.Facts = append(r.Facts, programFacts(ctx, b.Programs, b.Threads)...)
	r.Facts = append(r.Facts,
		fmt.Sprintf("medians of %s, lowest and highest beside them; contenders took turns; all on the loopback", report.Count(b.Reps, "repetition")),
		fmt.Sprintf("a figure with a ? (hollow in charts) has a range wider than %.0f %% of it: the machine was too noisy to rely on it", report.Noisy*100))
	if b.Quick {
		r.Facts = append(r.Facts, "a quick run, to see that all works: these figures are worth nothing")
	}
	return r
}

// Finish puts the glances in front, and adds what must be said about the figures.
func (b *Bench) Finish(r *report.Report) {
	r.Sections = append(b.glances(r.Sections), r.Sections...)
	r.Warnings = append(r.Warnings, b.notes...)
	r.Warn()
}

// programFacts returns a line about each: what it calls itself and how it is set up, or that it is not here.
func programFacts(ctx context.Context, p contender.Programs, threads int) (facts []string) {
	for _, one := range []struct{ name, path, flag, about string }{
		{contender.HAProxy, p.HAProxy, "-v", fmt.Sprintf("mode tcp, one listen section, nbthread %d; with splicing where that is said", threads)},
		{contender.Nginx, p.Nginx.Path, "-v", fmt.Sprintf("stream module, worker_processes %d", threads)},
		{contender.Socat, p.Socat, "-V", "a process for each connection, all to the first target"},
		{contender.Rsyslog, p.Rsyslog, "-v", fmt.Sprintf("imtcp, one queue in memory, %s, omfwd to a target at random", report.Count(threads, "worker"))},
	} {
		if one.path == "" {
			facts = append(facts, one.name+": not here, so not measured")
		} else {
			facts = append(facts, contender.Version(ctx, one.path, one.flag)+", "+one.about)
		}
	}
	return append(facts, fmt.Sprintf("%s: a proxy of fifty lines in this benchmark, GOMAXPROCS=%d", contender.Copier, threads))
}
