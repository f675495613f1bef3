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
)

// minThroughput is the throughput, in bytes per second, that limits the time of a run. A slower run
// is cancelled.
const minThroughput = 20e6

// transferResult holds what a transfer cost.
type transferResult struct {
	seconds float64
	cpu     float64 // of the proxy, in seconds
	ends    float64 // processor time of sender and sink, in seconds
	peak    int64   // peak resident memory of the proxy, in bytes
}

// figures returns the values of transferColumns.
func (r transferResult) figures(spec load.Transfer) []float64 {
	bytes := float64(spec.Bytes)
	return []float64{
		bytes / 1e6 / r.seconds,
		bytes / float64(spec.Line) / 1e6 / r.seconds,
		r.cpu / (bytes / 1e9),
		float64(r.peak) / (1 << 20),
		r.ends / (bytes / 1e9),
	}
}

// transferTime estimates how long trials take, in seconds, if each repetition moves bytes at
// perSecond.
func (b *Bench) transferTime(trials int, bytes int64, perSecond float64) float64 {
	const start = 0.3
	measured := float64(b.Reps*trials) * (start + float64(bytes)/perSecond)
	checked := float64(trials) * (start + float64(b.size.check)/perSecond)
	return measured + checked
}

// transferAll runs trials that all move the same.
func (b *Bench) transferAll(ctx context.Context, trials []*trial, spec load.Transfer) error {
	for _, t := range trials {
		t.spec = spec
	}
	return b.checkAndMeasure(ctx, trials)
}

// checkAndMeasure runs each trial once with every line checked, and then measures them in turn.
func (b *Bench) checkAndMeasure(ctx context.Context, trials []*trial) error {
	if err := b.verify(ctx, trials); err != nil {
		return err
	}
	return b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		spec := t.spec.WithBytes(t.spec.Bytes / workDivisor(t.Name))
		r, err := b.transfer(ctx, t.setting, spec)
		if err != nil {
			return "", err
		}
		f := r.figures(spec)
		t.add(f...)
		return fmt.Sprintf("%6.0f MB/s  %.3f CPU s/GB  %.1f MiB", f[0], f[2], f[3]), nil
	})
}

// verify runs short transfers in which the sinks check every line. Trials with the same setup and
// length of lines are verified once.
func (b *Bench) verify(ctx context.Context, trials []*trial) error {
	type key struct {
		setting
		line int
	}
	seen := map[key]bool{}
	for _, t := range trials {
		k := key{t.setting, t.spec.Line}
		if seen[k] {
			continue
		}
		seen[k] = true
		spec := t.spec.WithBytes(b.size.check / workDivisor(t.Name))
		spec.Verify = true
		_, err := b.transfer(ctx, t.setting, spec)
		if err != nil {
			err = fmt.Errorf("checking every line: %w", err)
		}
		if err := b.handleError(ctx, t, err); err != nil {
			return err
		}
	}
	return nil
}

// transfer starts sinks, a proxy and senders, moves the bytes, and checks that all of them arrived.
func (b *Bench) transfer(ctx context.Context, s setting, spec load.Transfer) (r transferResult, err error) {
	limit := 30*time.Second + time.Duration(float64(spec.Bytes)/minThroughput*float64(time.Second))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	st, err := b.startStage(ctx, s, "sink", "-ports", strconv.Itoa(spec.Targets), "-size", strconv.Itoa(spec.Line),
		"-verify="+strconv.FormatBool(spec.Verify))
	if err != nil {
		return r, err
	}
	defer st.stop()
	args := []string{"-to", strings.Join(st.to, ","), "-conns", strconv.Itoa(spec.Senders),
		"-bytes", strconv.FormatInt(spec.Bytes, 10), "-size", strconv.Itoa(spec.Line)}
	if s.TLS.In {
		args = append(args, "-certs", b.Dir)
	}
	sender, err := load.Spawn(ctx, "send", args...)
	if err != nil {
		return r, err
	}
	defer sender.Stop()
	if _, err := sender.Await("connected"); err != nil {
		return r, err
	}
	if _, err := st.target.Ask(fmt.Sprintf("expect %d", spec.Bytes), "expecting"); err != nil {
		return r, err
	}
	if r, err = timeTransfer(st.proxy, sender, st.target); err != nil {
		return r, err
	}
	if err := st.proxy.Stop(); err != nil {
		return r, err
	}
	return r, load.CheckTotal(st.target, spec)
}

// timeTransfer starts the sender and reads the meters before that and when all bytes have arrived.
func timeTransfer(p *contender.Proxy, sender, sink *load.Child) (r transferResult, err error) {
	before, err := readMeters(p, sender, sink)
	if err != nil {
		return r, err
	}
	peak := p.SamplePeak()
	begin := time.Now()
	if err = sendAndWait(sender, sink); err != nil {
		peak()
		return r, err
	}
	r.seconds = time.Since(begin).Seconds()
	after, err := readMeters(p, sender, sink)
	r.peak = peak()
	r.cpu, r.ends = after.proxy-before.proxy, after.ends-before.ends
	return r, err
}

// sendAndWait starts the sender and waits until the sink has all bytes.
func sendAndWait(sender, sink *load.Child) error {
	if _, err := sender.Ask("go", "sent"); err != nil {
		return err
	}
	_, err := sink.Await("reached")
	return err
}

// meters holds processor times, in seconds.
type meters struct{ proxy, ends float64 }

func readMeters(p *contender.Proxy, ends ...*load.Child) (m meters, err error) {
	if m.proxy, err = p.CPU(); err != nil {
		return m, err
	}
	for _, c := range ends {
		s, err := procstat.CPUSeconds(c.PID())
		if err != nil {
			return m, err
		}
		m.ends += s
	}
	return m, nil
}
