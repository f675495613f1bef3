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

// slowest is the throughput, in bytes per second, that a run must not fall below: it bounds the time.
const slowest = 20e6

// transferResult says what a transfer cost.
type transferResult struct {
	seconds float64
	cpu     float64 // seconds of the proxy
	ends    float64 // seconds of sender and sink
	peak    int64   // resident bytes of the proxy
}

// figures returns a result in the order of transferColumns.
func (r transferResult) figures(spec load.Transfer) []float64 {
	bytes := float64(spec.Bytes)
	return []float64{bytes / 1e6 / r.seconds, bytes / float64(spec.Line) / 1e6 / r.seconds, r.cpu / (bytes / 1e9), float64(r.peak) / (1 << 20), r.ends / (bytes / 1e9)}
}

// transferTime is how long so many trials take, in seconds, if they move so many bytes at such a rate.
func (b *Bench) transferTime(trials int, bytes int64, perSecond float64) float64 {
	start := 0.3
	return float64(b.Reps*trials)*(start+float64(bytes)/perSecond) + float64(trials)*(start+float64(b.size.check)/perSecond)
}

// transfers lets all trials move the same.
func (b *Bench) transfers(ctx context.Context, trials []*trial, spec load.Transfer) error {
	for _, t := range trials {
		t.spec = spec
	}
	return b.transferTurns(ctx, trials)
}

// transferTurns looks at every line once for each trial, and then lets them take turns.
func (b *Bench) transferTurns(ctx context.Context, trials []*trial) error {
	if err := b.verify(ctx, trials); err != nil {
		return err
	}
	return b.turns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		spec := t.spec.Lessen(t.spec.Bytes / part(t.Name))
		r, err := b.transfer(ctx, t.Setup, spec)
		if err != nil {
			return "", err
		}
		f := r.figures(spec)
		t.add(f...)
		return fmt.Sprintf("%6.0f MB/s  %.3f CPU s/GB  %.1f MiB", f[0], f[2], f[3]), nil
	})
}

// verify moves less, and looks at every line. Trials that differ in what does not concern the lines are looked at once.
func (b *Bench) verify(ctx context.Context, trials []*trial) error {
	type likeness struct {
		contender.Setup
		line int
	}
	seen := map[likeness]bool{}
	for _, t := range trials {
		like := likeness{t.Setup, t.spec.Line}
		if seen[like] {
			continue
		}
		seen[like] = true
		spec := t.spec.Lessen(b.size.check / part(t.Name))
		spec.Verify = true
		_, err := b.transfer(ctx, t.Setup, spec)
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
func (b *Bench) transfer(ctx context.Context, s contender.Setup, spec load.Transfer) (r transferResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+time.Duration(float64(spec.Bytes)/slowest*float64(time.Second)))
	defer cancel()

	st, err := b.raise(ctx, s, "sink", "-ports", strconv.Itoa(spec.Targets), "-size", strconv.Itoa(spec.Line), "-verify="+strconv.FormatBool(spec.Verify))
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
	if r, err = timed(st.proxy, sender, st.target); err != nil {
		return r, err
	}
	if err := st.proxy.Stop(); err != nil {
		return r, err
	}
	return r, load.CheckTotal(st.target, spec)
}

// timed lets the sender go and reads the meters before that and when all has arrived.
func timed(p *contender.Proxy, sender, sink *load.Child) (r transferResult, err error) {
	before, err := readMeters(p, sender, sink)
	if err != nil {
		return r, err
	}
	peak := p.WatchPeak()
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
func moved(sender, sink *load.Child) error {
	if _, err := sender.Ask("go", "sent"); err != nil {
		return err
	}
	_, err := sink.Await("reached")
	return err
}

// meters are processor times, in seconds.
type meters struct{ proxy, ends float64 }

func readMeters(p *contender.Proxy, ends ...*load.Child) (m meters, err error) {
	if m.proxy, err = p.CPU(); err != nil {
		return m, err
	}
	for _, c := range ends {
		s, err := procstat.CPUSeconds(c.Pid())
		if err != nil {
			return m, err
		}
		m.ends += s
	}
	return m, nil
}
