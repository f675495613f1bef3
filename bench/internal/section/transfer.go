//go:build linux

package section

import (
	"cmp"
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

// transferColumns are the columns of transferResult.figures.
var transferColumns = []string{"MB/s", "million lines/s", "CPU s/GB", "peak MiB", "both ends CPU s/GB",
	"both ends, cores", "proxy, cores"}

// proxyColumns are those of transferColumns that do not apply to a run without a proxy.
var proxyColumns = []int{2, 3, 6}

// transferResult holds what a transfer cost.
type transferResult struct {
	transferPart
	ends  float64      // processor time of sender and sink, in seconds
	peak  int64        // peak resident memory of the proxy, in bytes
	first transferPart // until Transfer.First bytes had arrived; zero if that is 0
}

// transferPart is a transfer from its begin to some moment.
type transferPart struct {
	bytes   int64 // that have arrived
	seconds float64
	cpu     float64 // of the proxy, in seconds
}

// since returns the part of a transfer that comes after its first part.
func (p transferPart) since(first transferPart) transferPart {
	return transferPart{p.bytes - first.bytes, p.seconds - first.seconds, p.cpu - first.cpu}
}

func (p transferPart) speed() float64 { return float64(p.bytes) / 1e6 / p.seconds } // MB/s

func (p transferPart) cost() float64 { return p.cpu / (float64(p.bytes) / 1e9) } // CPU s/GB

// figures returns the values of transferColumns.
func (r transferResult) figures(spec load.Transfer) []float64 {
	return []float64{
		r.speed(),
		r.speed() / float64(spec.Line),
		r.cost(),
		float64(r.peak) / (1 << 20),
		r.ends / (float64(r.bytes) / 1e9),
		r.ends / r.seconds,
		r.cpu / r.seconds,
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
	return b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) { return b.measure(ctx, t) })
}

// measure runs a trial's transfer once and adds its figures.
func (b *Bench) measure(ctx context.Context, t *trial) (string, error) {
	spec := t.spec.WithBytes(t.spec.Bytes / workDivisor(t.Name))
	r, err := b.transfer(ctx, t.setting, spec)
	if err != nil {
		return "", err
	}
	f := r.figures(spec)
	t.add(f...)
	if spec.First > 0 {
		t.warm.add(r.warmFigures()...)
	}
	return fmt.Sprintf("%6.0f MB/s  %.3f CPU s/GB  %.1f MiB", f[0], f[2], f[3]), nil
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
	if r, err = timeTransfer(st.proxy, sender, st.target, spec); err != nil {
		return r, err
	}
	if err := st.proxy.Stop(); err != nil {
		return r, err
	}
	return r, load.CheckTotal(st.target, spec)
}

// timeTransfer starts the sender and reads the meters before that and when all bytes have arrived;
// with spec.First, also in between.
func timeTransfer(p *contender.Proxy, sender, sink *load.Child, spec load.Transfer) (r transferResult, err error) {
	if err := expect(sink, cmp.Or(spec.First, spec.Bytes)); err != nil {
		return r, err
	}
	before, err := readMeters(p, sender, sink)
	if err != nil {
		return r, err
	}
	peak := p.SamplePeak()
	begin := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := sender.Ask("go", "sent")
		sent <- err
	}()
	if spec.First > 0 {
		if err = awaitReached(sink, sent); err == nil {
			r.first, err = readPart(p, sink, before, begin)
		}
		if err == nil {
			err = expect(sink, spec.Bytes)
		}
	}
	if err == nil {
		err = awaitReached(sink, sent)
	}
	if err != nil {
		peak()
		return r, err
	}
	r.bytes, r.seconds = spec.Bytes, time.Since(begin).Seconds()
	after, err := readMeters(p, sender, sink)
	r.peak = peak()
	cpu := after.since(before)
	r.cpu, r.ends = cpu.proxy, cpu.ends
	return r, err
}

// expect tells a sink for how many bytes awaitReached waits.
func expect(sink *load.Child, bytes int64) error {
	_, err := sink.Ask(fmt.Sprintf("expect %d", bytes), "expecting")
	return err
}

// awaitReached waits until the sink has the bytes that it expects, or the sender has failed. sent
// gets the sender's result once.
func awaitReached(sink *load.Child, sent chan error) error {
	reached := make(chan error, 1)
	go func() {
		_, err := sink.Await("reached")
		reached <- err
	}()
	select {
	case err := <-reached:
		return err
	case err := <-sent:
		if err != nil {
			return err // the sink ends with its stage, and with it the goroutine
		}
		sent <- nil // for the next call
		return <-reached
	}
}

// readPart reads the proxy's meter while the transfer goes on.
func readPart(p *contender.Proxy, sink *load.Child, before meters, begin time.Time) (part transferPart, err error) {
	cpu, err := p.CPU()
	if err != nil {
		return part, err
	}
	part.cpu, part.seconds = cpu-before.proxy, time.Since(begin).Seconds()
	part.bytes, err = load.Received(sink)
	return part, err
}

// meters holds processor times, in seconds.
type meters struct{ proxy, ends float64 }

func (m meters) since(before meters) meters {
	return meters{m.proxy - before.proxy, m.ends - before.ends}
}

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
