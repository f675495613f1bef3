//go:build linux

package section

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/procstat"
	"linesplit/bench/report"
)

// NewReport returns a report with facts about the machine, the contenders and the figures.
func (b *Bench) NewReport(ctx context.Context) *report.Report {
	r := &report.Report{LoadBefore: procstat.Load()}
	r.Facts = []string{
		time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%s, %s, %s %s",
			procstat.CPUModel(), report.Count(runtime.NumCPU(), "processor"), procstat.Kernel(), runtime.GOARCH),
		strings.TrimSpace(fmt.Sprintf("%s, GOMAXPROCS=%d %s",
			contender.Version(ctx, b.Linesplit, "-version"), b.Threads, b.Flags)),
	}
	if b.Old != "" {
		r.Facts = append(r.Facts, strings.TrimSpace(fmt.Sprintf("%s: %s, GOMAXPROCS=%d %s",
			contender.OldLinesplit, contender.Version(ctx, b.Old, "-version"), b.Threads, b.OldFlags)))
	}
	r.Facts = append(r.Facts, b.programFacts(ctx)...)
	r.Facts = append(r.Facts,
		fmt.Sprintf("medians of %s, lowest and highest beside them; contenders took turns; all on the loopback, "+
			"unless it says otherwise", report.Count(b.Reps, "repetition")),
		"a ratio is the median of the ratios within each repetition",
		fmt.Sprintf("a figure with a ? (hollow in charts) has a range wider than %.0f %% of it: "+
			"the machine was too noisy to rely on it", report.MaxSpread*100))
	if b.Quick {
		r.Facts = append(r.Facts, "a quick run, to see that everything works: these figures mean nothing")
	}
	return r
}

// Finish puts the comparison and the summaries in front of the sections and adds the warnings.
func (b *Bench) Finish(r *report.Report) {
	r.Sections = slices.Concat(b.comparison(r.Sections), b.summaries(r.Sections), r.Sections)
	r.Warnings = append(r.Warnings, b.notes...)
	r.AddWarnings()
}

// programFacts returns a line about each other proxy that is to be measured: its version and setup,
// or that it is not installed.
func (b *Bench) programFacts(ctx context.Context) (facts []string) {
	p, threads := b.Programs, b.Threads
	for _, one := range []struct{ name, path, flag, about string }{
		{contender.HAProxy, p.HAProxy, "-v",
			fmt.Sprintf("mode tcp, one listen section, nbthread %d; with splicing where it says so", threads)},
		{contender.Nginx, p.Nginx.Path, "-v", fmt.Sprintf("stream module, worker_processes %d", threads)},
		{contender.Socat, p.Socat, "-V", "a process for each connection, all to the first target"},
		{contender.Rsyslog, p.Rsyslog, "-v", fmt.Sprintf("imtcp, one queue in memory, %s, omfwd to a target at random; "+
			"with files for what does not fit where it says disk-assisted", report.Count(threads, "worker"))},
		{contender.SyslogNG, p.SyslogNG, "-V", fmt.Sprintf("network, %s, a reliable disk-buffer for each target",
			report.Count(threads, "worker"))},
	} {
		switch {
		case !b.Wants(one.name):
		case one.path == "":
			facts = append(facts, one.name+": not installed, so not measured")
		default:
			facts = append(facts, contender.Version(ctx, one.path, one.flag)+", "+one.about)
		}
	}
	if b.Wants(contender.IOCopy) {
		facts = append(facts,
			fmt.Sprintf("%s: a proxy of fifty lines in this benchmark, GOMAXPROCS=%d", contender.IOCopy, threads))
	}
	return facts
}
