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

// readInterval is the time between two looks at what a proxy has read.
const readInterval = 10 * time.Millisecond

func (b *Bench) outageContenders() []string {
	return b.Available(contender.LinesplitOverflow, contender.LinesplitAlways, contender.RsyslogDisk, contender.SyslogNG)
}

// outage measures how fast lines go to disk while all targets are down, and come back from there.
func (b *Bench) outage(ctx context.Context) (report.Section, error) {
	t, trials := newTrials(b.outageContenders(), "in, MB/s", "out, MB/s", "out, CPU s/GB", "first line, ms", "peak MiB")
	spec := load.Transfer{Senders: 2, Targets: 2, Line: b.size.line, Bytes: b.size.outage}
	err := b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		spec := spec.WithBytes(spec.Bytes / workDivisor(t.Name))
		r, err := b.outageRun(ctx, t.Setup, spec)
		if err != nil {
			return "", err
		}
		in := float64(spec.Bytes) / 1e6 / r.filling
		t.add(in, r.speed(), r.cost(), r.first*1e3, float64(r.peak)/(1<<20))
		return fmt.Sprintf("%6.0f MB/s in  %6.0f MB/s out  %.3f CPU s/GB", in, r.speed(), r.cost()), nil
	})
	for _, other := range []string{contender.RsyslogDisk, contender.SyslogNG} {
		t.AddRatio(contender.LinesplitOverflow, other)
	}
	return report.Section{
		Title: "Spool: an outage of all targets",
		About: fmt.Sprintf("Two targets refuse connections while two senders write %.1f GB (rsyslog and syslog-ng: a tenth) "+
			"in lines of %d bytes, until the proxy has read all of it (in). Then the targets come back: the time until the "+
			"first line, and from then on until the last (out). Most of the files are in the kernel's memory then. "+
			"Every byte arrived once.", float64(spec.Bytes)/1e9, spec.Line),
		Table: t,
		Figures: []report.Figure{
			report.Bars(t, "spool-outage", "Spool: an outage of all targets", "MB/s", "in, MB/s", "out, MB/s"),
		},
	}, err
}

// outageResult holds what an outage cost.
type outageResult struct {
	filling      float64 // seconds until the proxy had read all lines
	first        float64 // seconds from the end of the outage until the first line
	peak         int64   // resident memory of the proxy, in bytes
	transferPart         // from the first line until the last
}

func (b *Bench) outageRun(ctx context.Context, s contender.Setup, spec load.Transfer) (r outageResult, err error) {
	limit := time.Minute + 2*time.Duration(float64(spec.Bytes)/minThroughput*float64(time.Second))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "sink", "-closed", "-ports", strconv.Itoa(spec.Targets))
	if err != nil {
		return r, err
	}
	defer st.stop()
	peak := st.proxy.SamplePeak()
	if r.filling, err = fill(ctx, st, spec); err == nil {
		r.first, r.transferPart, err = drain(st, spec)
	}
	r.peak = peak()
	if err != nil {
		return r, err
	}
	if err := st.proxy.Stop(); err != nil {
		return r, err
	}
	return r, load.CheckTotal(st.target, spec)
}

// fill sends lines until the proxy has read all of them, and returns how many seconds that took.
func fill(ctx context.Context, st *stage, spec load.Transfer) (seconds float64, err error) {
	sender, err := load.Spawn(ctx, "send", "-to", strings.Join(st.to, ","), "-conns", strconv.Itoa(spec.Senders),
		"-bytes", strconv.FormatInt(spec.Bytes, 10), "-size", strconv.Itoa(spec.Line))
	if err != nil {
		return 0, err
	}
	defer sender.Stop()
	if _, err := sender.Await("connected"); err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := sender.Ask("go", "sent"); err != nil {
		return 0, err
	}
	for {
		unread, err := procstat.Unread(st.to[0])
		switch {
		case err != nil:
			return 0, err
		case unread > 0:
			seconds = 0
		case seconds > 0: // seen twice: Unread may miss bytes that move
			return seconds, nil
		default:
			seconds = time.Since(begin).Seconds()
		}
		if err := procstat.Pause(ctx, readInterval); err != nil {
			return 0, fmt.Errorf("%d bytes not read: %w", unread, err)
		}
	}
}

// drain lets the targets accept connections and waits until all lines have arrived. first is the
// number of seconds until the first line.
func drain(st *stage, spec load.Transfer) (first float64, all transferPart, err error) {
	before, err := st.proxy.CPU()
	if err != nil {
		return 0, all, err
	}
	begin := time.Now()
	if _, err := st.target.Ask("open", "opened"); err != nil {
		return 0, all, err
	}
	if err := awaitBytes(st.target, 1); err != nil {
		return 0, all, err
	}
	first = time.Since(begin).Seconds()
	begin = time.Now()
	if err := awaitBytes(st.target, spec.Bytes); err != nil {
		return 0, all, err
	}
	all.bytes, all.seconds = spec.Bytes, time.Since(begin).Seconds()
	all.cpu, err = st.proxy.CPU()
	all.cpu -= before
	return first, all, err
}

// awaitBytes waits until a sink has so many bytes.
func awaitBytes(sink *load.Child, bytes int64) error {
	if err := expect(sink, bytes); err != nil {
		return err
	}
	_, err := sink.Await("reached")
	return err
}
