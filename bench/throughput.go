//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// slowest is the throughput, in bytes per second, that a run must not fall below: it bounds the time.
const slowest = 20e6

// transferSpec says what a transfer moves.
type transferSpec struct {
	senders, targets int
	line             int   // bytes
	bytes            int64 // whole lines
	verify           bool  // look at every line; costs the sink time
}

// transferColumns are the figures of a transfer.
var transferColumns = []string{"MB/s", "million lines/s", "CPU s/GB", "peak MiB", "both ends CPU s/GB"}

// transferResult says what a transfer cost.
type transferResult struct {
	seconds float64
	cpu     float64 // seconds of the proxy
	ends    float64 // seconds of sender and sink
	peak    int64   // resident bytes of the proxy
}

// figures returns a result in the order of transferColumns.
func (r transferResult) figures(spec transferSpec) []float64 {
	bytes := float64(spec.bytes)
	return []float64{bytes / 1e6 / r.seconds, bytes / float64(spec.line) / 1e6 / r.seconds, r.cpu / (bytes / 1e9), float64(r.peak) / (1 << 20), r.ends / (bytes / 1e9)}
}

// transferTime is how long so many trials take, in seconds, if they move so many bytes at such a rate.
func (b *bench) transferTime(trials int, bytes int64, perSecond float64) float64 {
	start := 0.3
	return float64(b.Reps*trials)*(start+float64(bytes)/perSecond) + float64(trials)*(start+float64(b.size.check)/perSecond)
}

func (b *bench) throughputTime() float64 {
	return b.transferTime(len(b.lineContenders()), b.size.throughput, 1.1e9)
}

func (b *bench) throughput(ctx context.Context) ([]section, error) {
	t, trials := oneTable(b.lineContenders(), transferColumns...)
	spec := transferSpec{senders: 2, targets: 2, line: b.size.line, bytes: b.size.throughput}
	if err := b.transfers(ctx, trials, spec); err != nil {
		return nil, err
	}
	t.hide(direct, 2, 3)
	addRatios(t, linesplit)
	return []section{{
		title: "Line mode: throughput",
		about: fmt.Sprintf("Two senders, two targets (linesplit: %d connections to each), lines of %d bytes, %.1f GB per run (rsyslog: a tenth); every byte arrived. "+
			"In a run before, every line was looked at. Only linesplit and rsyslog split what one sender sends.", baseWorkers, spec.line, float64(spec.bytes)/1e9),
		table: t,
		figures: []figure{
			bars(t, "throughput", "Line mode: throughput", "MB/s", "MB/s"),
			dots(t, "throughput-cpu", "Line mode: processor time", "CPU s/GB", "CPU s/GB"),
		},
	}}, nil
}

func (b *bench) bulkTime() float64 {
	return b.transferTime(len(b.bulkContenders()), b.size.bulk, 1.4e9)
}

// bulkContenders are the forwarders, and HAProxy once more: splicing is what one would switch on for this.
func (b *bench) bulkContenders() []string {
	return b.present(direct, haproxy, splicing, nginx, socat, copier, relaying)
}

func (b *bench) bulk(ctx context.Context) ([]section, error) {
	t, trials := oneTable(b.bulkContenders(), transferColumns...)
	spec := transferSpec{senders: 4, targets: 2, line: b.size.line, bytes: b.size.bulk}
	if err := b.transfers(ctx, trials, spec); err != nil {
		return nil, err
	}
	t.hide(direct, 2, 3)
	addRatios(t, relaying)
	return []section{{
		title: "Connection mode: bulk",
		about: fmt.Sprintf("Four connections from clients to two targets (socat: to one), %.1f GB per run over all; every byte arrived. "+
			"In a run before, its lines were looked at one by one.", float64(spec.bytes)/1e9),
		table: t,
		figures: []figure{
			bars(t, "bulk", "Connection mode: bulk", "MB/s", "MB/s"),
			bars(t, "bulk-cpu", "Connection mode: processor time", "CPU s/GB", "CPU s/GB"),
		},
	}}, nil
}

// transfers lets all trials move the same.
func (b *bench) transfers(ctx context.Context, trials []*trial, spec transferSpec) error {
	for _, t := range trials {
		t.spec = spec
	}
	return b.transferTurns(ctx, trials)
}

// transferTurns looks at every line once for each trial, and then lets them take turns.
func (b *bench) transferTurns(ctx context.Context, trials []*trial) error {
	if err := b.verify(ctx, trials); err != nil {
		return err
	}
	return b.turns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		spec := t.spec.lessen(t.spec.bytes / part(t.name))
		r, err := b.transfer(ctx, t.setup, spec)
		if err != nil {
			return "", err
		}
		f := r.figures(spec)
		t.add(f...)
		return fmt.Sprintf("%6.0f MB/s  %.3f CPU s/GB  %.1f MiB", f[0], f[2], f[3]), nil
	})
}

// lessen returns a spec that moves so many bytes, rounded down to whole lines.
func (s transferSpec) lessen(bytes int64) transferSpec {
	s.bytes = wholeLines(bytes, s.line)
	return s
}

// verify moves less, and looks at every line. Trials that differ in what does not concern the lines are looked at once.
func (b *bench) verify(ctx context.Context, trials []*trial) error {
	type likeness struct {
		setup
		line int
	}
	seen := map[likeness]bool{}
	for _, t := range trials {
		like := likeness{t.setup, t.spec.line}
		if seen[like] {
			continue
		}
		seen[like] = true
		spec := t.spec.lessen(b.size.check / part(t.name))
		spec.verify = true
		_, err := b.transfer(ctx, t.setup, spec)
		if err != nil {
			err = fmt.Errorf("looking at every line: %w", err)
		}
		if err := b.judge(ctx, t, err); err != nil {
			return err
		}
	}
	return nil
}

// transfer starts sinks, a proxy and senders, moves the bytes, and holds what arrived against what was sent.
func (b *bench) transfer(ctx context.Context, s setup, spec transferSpec) (r transferResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+time.Duration(float64(spec.bytes)/slowest*float64(time.Second)))
	defer cancel()

	st, err := b.raise(ctx, s, "sink", "-ports", strconv.Itoa(spec.targets), "-size", strconv.Itoa(spec.line), "-verify="+strconv.FormatBool(spec.verify))
	if err != nil {
		return r, err
	}
	defer st.stop()
	args := []string{"-to", strings.Join(st.to, ","), "-conns", strconv.Itoa(spec.senders),
		"-bytes", strconv.FormatInt(spec.bytes, 10), "-size", strconv.Itoa(spec.line)}
	if s.tls.in {
		args = append(args, "-certs", b.dir)
	}
	sender, err := spawn(ctx, "send", args...)
	if err != nil {
		return r, err
	}
	defer sender.stop()
	if _, err := sender.await("connected"); err != nil {
		return r, err
	}
	if _, err := st.target.ask(fmt.Sprintf("expect %d", spec.bytes), "expecting"); err != nil {
		return r, err
	}
	if r, err = timed(st.proxy, sender, st.target); err != nil {
		return r, err
	}
	if err := st.proxy.stop(); err != nil {
		return r, err
	}
	return r, checkTotal(st.target, spec)
}

// timed lets the sender go and reads the meters before that and when all has arrived.
func timed(p *proxy, sender, sink *child) (r transferResult, err error) {
	before, err := readMeters(p, sender, sink)
	if err != nil {
		return r, err
	}
	peak := p.watchPeak()
	begin := time.Now()
	if err = moved(sender, sink); err != nil {
		peak()
		return r, err
	}
	r.seconds = time.Since(begin).Seconds()
	after, err := readMeters(p, sender, sink)
	r.peak = peak()
	r.cpu, r.ends = after.proxy-before.proxy, after.ends-before.ends
	return r, err
}

// moved lets the sender go and waits until all is where it should be.
func moved(sender, sink *child) error {
	if _, err := sender.ask("go", "sent"); err != nil {
		return err
	}
	_, err := sink.await("reached")
	return err
}

// meters are processor times, in seconds.
type meters struct{ proxy, ends float64 }

func readMeters(p *proxy, ends ...*child) (m meters, err error) {
	if m.proxy, err = p.cpu(); err != nil {
		return m, err
	}
	for _, c := range ends {
		s, err := cpuSeconds(c.pid())
		if err != nil {
			return m, err
		}
		m.ends += s
	}
	return m, nil
}

// checkTotal holds against the sink that it has all bytes, no byte twice, and only whole lines if it looked at them.
func checkTotal(sink *child, spec transferSpec) error {
	fields, err := sink.ask("total", "total")
	if err != nil {
		return err
	}
	var bytes, lines, odd int64
	if _, err := fmt.Sscan(strings.Join(fields, " "), &bytes, &lines, &odd); err != nil {
		return err
	}
	if bytes != spec.bytes {
		return fmt.Errorf("%d bytes sent, %d arrived", spec.bytes, bytes)
	}
	if want := spec.bytes / int64(spec.line); spec.verify && (lines != want || odd != 0) {
		return fmt.Errorf("%d lines sent, %d arrived, %d of them not as they were sent", want, lines, odd)
	}
	return nil
}

// wholeLines rounds bytes down to whole lines.
func wholeLines(bytes int64, line int) int64 { return bytes - bytes%int64(line) }
