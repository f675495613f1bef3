//go:build linux

package section

import (
	"context"
	"fmt"
	"slices"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/internal/procstat"
	"linesplit/bench/report"
)

// spoolContenders returns the contenders that keep lines on disk, and linesplit without a spool.
func (b *Bench) spoolContenders() []string {
	return b.Available(contender.OldLinesplit, contender.Linesplit, contender.LinesplitOverflow, contender.LinesplitAlways,
		contender.LinesplitSynced, contender.RsyslogDisk, contender.SyslogNG)
}

// addSpoolRatios adds rows with the ratios of linesplit with a spool to linesplit without one, and
// to the others that keep lines on disk.
func addSpoolRatios(t *report.Table) {
	t.AddRatio(contender.Linesplit, contender.OldLinesplit)
	for _, ours := range []string{contender.LinesplitOverflow, contender.LinesplitAlways, contender.LinesplitSynced} {
		t.AddRatio(ours, contender.Linesplit)
	}
	for _, other := range []string{contender.RsyslogDisk, contender.SyslogNG} {
		t.AddRatio(contender.LinesplitAlways, other)
	}
}

// spoolPart is one of the measurements with lines on disk.
type spoolPart struct {
	seconds float64 // estimate of its duration
	run     func(context.Context) (report.Section, error)
}

func (b *Bench) spoolParts() []spoolPart {
	all, killed := len(b.spoolContenders()), len(b.killContenders())
	return []spoolPart{
		{b.transferTime(all+1, b.size.spool, 0.5e9), b.spoolThroughput},
		{float64(b.Reps*all) * (0.2 + float64(b.size.seconds)), b.spoolLatency},
		{float64(b.Reps*len(b.outageContenders())) * (2 + float64(b.size.outage)/0.2e9), b.outage},
		{float64(b.Reps*killed) * 2 * (3 + float64(b.size.killed)/100e3), b.kill},
	}
}

func (b *Bench) spoolTime() (seconds float64) {
	for _, p := range b.spoolParts() {
		seconds += p.seconds
	}
	return seconds
}

// spool measures lines on disk: throughput, latency, an outage and a kill. If the disk has no room
// for them, it adds a note and measures nothing.
func (b *Bench) spool(ctx context.Context) (found []report.Section, err error) {
	need := 2 * max(b.size.spool, b.size.outage)
	free, err := procstat.Free(b.Disk)
	if err != nil {
		return nil, err
	}
	if free < need {
		b.note(fmt.Sprintf("Lines on disk were not measured: %s has %.1f GB free, and %.1f GB are needed: "+
			"give another folder with -disk.", b.Disk, float64(free)/1e9, float64(need)/1e9))
		return nil, nil
	}
	kind, _, err := procstat.FileSystem(b.Disk)
	if err != nil {
		return nil, err
	}
	if slices.Contains([]string{"tmpfs", "ramfs"}, kind) {
		b.note(fmt.Sprintf("Lines on disk were in memory: %s is on %s, where a sync costs nothing. "+
			"Give a folder on a disk with -disk.", b.Disk, kind))
	}
	for _, p := range b.spoolParts() {
		b.seconds = p.seconds
		s, err := p.run(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

func (b *Bench) spoolThroughput(ctx context.Context) (s report.Section, err error) {
	t, trials := newTrials(append([]string{diskAlone}, b.spoolContenders()...), transferColumns...)
	for _, one := range trials {
		one.spec = load.Transfer{Senders: 2, Targets: 2, Line: b.size.line, Bytes: b.size.spool}
	}
	if err := b.verify(ctx, trials[1:]); err != nil {
		return s, err
	}
	err = b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		if t.Name == diskAlone {
			return b.measureDisk(t)
		}
		return b.measure(ctx, t)
	})
	if err != nil {
		return s, err
	}
	addSpoolRatios(t)
	about, err := b.aboutSpool()
	return report.Section{
		Title: "Spool: throughput",
		About: about,
		Table: t,
		Figures: []report.Figure{
			report.Bars(t, "spool", "Spool: throughput", "MB/s", "MB/s"),
			report.Dots(t, "spool-cpu", "Spool: processor time", "CPU s/GB", "CPU s/GB"),
		},
	}, err
}

func (b *Bench) aboutSpool() (string, error) {
	kind, source, err := procstat.FileSystem(b.Disk)
	return fmt.Sprintf("Two senders, two targets that keep up (linesplit: %d connections to each), lines of %d bytes, "+
		"%.1f GB per run (rsyslog and syslog-ng: a tenth), files on %s (%s); every byte arrived, and in a run before "+
		"every line was checked. linesplit has no spool; overflow has one that gets no lines (-spool-mode overflow); "+
		"always writes each line before a target gets it, and syncs every %v; synced does so after each write "+
		"(-spool-sync write). rsyslog's queue uses files when its memory is full, syslog-ng's has each line in a file; "+
		"neither syncs. Disk alone: as many bytes to one file, synced every %v. The time of the kernel's own threads "+
		"that write to the disk is in no figure.",
		contender.BaseWorkers, b.size.line, float64(b.size.spool)/1e9, kind, source,
		contender.SyncInterval, contender.SyncInterval), err
}

func (b *Bench) spoolLatency(ctx context.Context) (report.Section, error) {
	t, err := b.takePercentiles(ctx, b.spoolContenders(), func(ctx context.Context, s contender.Setup) ([3]float64, error) {
		r, err := b.latencyRun(ctx, s, 1, b.size.rate)
		return r.percentiles, err
	})
	addSpoolRatios(t)
	return report.Section{
		Title: "Spool: latency",
		About: fmt.Sprintf("Single lines of %d bytes, %d per second, evenly spaced on one connection, %d s per run, "+
			"through the same contenders. No target waits for a sync.", b.size.line, b.size.rate, b.size.seconds),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "spool-latency", "Spool: latency of single lines", "µs", t.Columns...)},
	}, err
}
