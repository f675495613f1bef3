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
const slowest = 50e6

// transferSpec says what a transfer moves.
type transferSpec struct {
	senders, targets int
	line             int   // bytes
	bytes            int64 // whole lines
	verify           bool  // look at every line; costs the sink time
}

// transferResult says what a transfer cost.
type transferResult struct {
	seconds float64
	cpu     float64 // seconds of the proxy
	ends    float64 // seconds of sender and sink
	peak    int64   // resident bytes of the proxy
}

func (b *bench) throughput(ctx context.Context) (section, error) {
	spec := transferSpec{senders: 2, targets: 2, line: b.size.line, bytes: wholeLines(b.size.throughput, b.size.line)}
	names := b.contenders(true)
	fmt.Fprintf(b.log, "throughput: %.1f GB per run\n", float64(spec.bytes)/1e9)
	t, err := b.transfers(ctx, names, spec)
	if err != nil {
		return section{}, err
	}
	t.addRatio(linesplit, haproxy)
	return section{
		title: "Throughput",
		about: fmt.Sprintf("Two senders, two targets (linesplit: four connections to each), lines of %d bytes, %.1f GB per run; every byte arrived. "+
			"In a run before, every line was looked at.", spec.line, float64(spec.bytes)/1e9),
		table: t,
	}, nil
}

func (b *bench) bulk(ctx context.Context) (section, error) {
	spec := transferSpec{senders: 4, targets: 2, line: b.size.line, bytes: wholeLines(b.size.bulk, b.size.line)}
	fmt.Fprintf(b.log, "bulk: %.1f GB per run\n", float64(spec.bytes)/1e9)
	t, err := b.transfers(ctx, b.forwarders(true), spec)
	if err != nil {
		return section{}, err
	}
	addForwarderRatios(t)
	return section{
		title: "Connection mode: bulk",
		about: fmt.Sprintf("Four connections from clients to two targets, %.1f GB per run over all; every byte arrived. "+
			"In a run before, its lines were looked at one by one. HAProxy does not splice.", float64(spec.bytes)/1e9),
		table: t,
	}, nil
}

// transfers looks at every line once for each contender, and then lets them take turns.
func (b *bench) transfers(ctx context.Context, names []string, spec transferSpec) (*table, error) {
	if err := b.verify(ctx, names, spec); err != nil {
		return nil, err
	}
	t := newTable(names, "MB/s", "proxy CPU s/GB", "proxy peak MiB", "both ends CPU s/GB")
	err := b.turns(b.reps, names, func(i int) (string, error) {
		r, err := b.transfer(ctx, names[i], spec)
		if err != nil {
			return "", err
		}
		gb := float64(spec.bytes) / 1e9
		t.add(i, gb*1e3/r.seconds, r.cpu/gb, float64(r.peak)/(1<<20), r.ends/gb)
		return fmt.Sprintf("%6.0f MB/s  %.3f CPU s/GB  %.1f MiB", gb*1e3/r.seconds, r.cpu/gb, float64(r.peak)/(1<<20)), nil
	})
	t.hide(direct, 1, 2)
	return t, err
}

// verify moves less, and looks at every line.
func (b *bench) verify(ctx context.Context, names []string, spec transferSpec) error {
	spec.bytes, spec.verify = wholeLines(b.size.check, spec.line), true
	for _, name := range names {
		if _, err := b.transfer(ctx, name, spec); err != nil {
			return fmt.Errorf("%s, looking at every line: %w", name, err)
		}
	}
	return nil
}

// transfer starts sinks, a proxy and senders, moves the bytes, and holds what arrived against what was sent.
func (b *bench) transfer(ctx context.Context, name string, spec transferSpec) (r transferResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+time.Duration(float64(spec.bytes)/slowest*float64(time.Second)))
	defer cancel()

	st, err := b.raise(ctx, name, "sink", "-ports", strconv.Itoa(spec.targets), "-size", strconv.Itoa(spec.line), "-verify="+strconv.FormatBool(spec.verify))
	if err != nil {
		return r, err
	}
	defer st.stop()
	sender, err := spawn(ctx, "send", "-to", strings.Join(st.to, ","), "-conns", strconv.Itoa(spec.senders),
		"-bytes", strconv.FormatInt(spec.bytes, 10), "-size", strconv.Itoa(spec.line))
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
	begin := time.Now()
	if _, err := sender.ask("go", "sent"); err != nil {
		return r, err
	}
	if _, err := sink.await("reached"); err != nil {
		return r, err
	}
	r.seconds = time.Since(begin).Seconds()
	after, err := readMeters(p, sender, sink)
	if err != nil {
		return r, err
	}
	r.cpu, r.ends = after.proxy-before.proxy, after.ends-before.ends
	r.peak, err = p.peak()
	return r, err
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
