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

// idleWarm connections come first, so that what a proxy needs only once is not counted.
const idleWarm = 16

// idleReps bounds the repetitions: memory hardly differs between runs, and waiting for it to settle takes long.
const idleReps = 3

// An idle run takes as long as memory takes to settle, some times over, and a few milliseconds for each connection.
func (b *Bench) idleTime() float64 {
	return float64(min(b.Reps, idleReps)*len(b.lineContenders())) * (3*b.size.settle.Seconds() + 1 + float64(b.size.idle)/4000)
}

func (b *Bench) pairsTime() float64 {
	return float64(min(b.Reps, idleReps)*len(b.forwarders())) * (2*b.size.settle.Seconds() + 1 + float64(b.size.idle)/4000)
}

func (b *Bench) idle(ctx context.Context) ([]report.Section, error) {
	t, trials := oneTable(b.lineContenders()[1:], "KB each, never wrote", "KB each, after a line")
	err := b.turns(ctx, min(b.Reps, idleReps), trials, func(t *trial) (string, error) {
		grown, err := b.idleRun(ctx, t.Setup, b.held(t.Name), true)
		if err != nil {
			return "", err
		}
		t.add(grown...)
		return fmt.Sprintf("%.1f %.1f KB", grown[0], grown[1]), nil
	})
	addRatios(t, contender.Linesplit)
	return []report.Section{{
		Title: "Line mode: memory of an idle connection",
		About: fmt.Sprintf("%d plain connections (socat: %d, a process for each): resident memory with them less without them, divided by their number. First none of them "+
			"has written anything, then each has sent one line. The kernel's own memory is not in it; HAProxy, nginx and socat open a connection to a target for each.",
			b.size.idle, b.held(contender.Socat)),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "idle", "Line mode: memory of an idle connection", "KB", t.Columns...)},
	}}, err
}

func (b *Bench) idlePairs(ctx context.Context) ([]report.Section, error) {
	t, trials := oneTable(b.forwarders()[1:], "KB per pair")
	err := b.turns(ctx, min(b.Reps, idleReps), trials, func(t *trial) (string, error) {
		grown, err := b.idleRun(ctx, t.Setup, b.held(t.Name), false)
		if err != nil {
			return "", err
		}
		t.add(grown...)
		return fmt.Sprintf("%.1f KB", grown[0]), nil
	})
	addRatios(t, contender.Relaying)
	return []report.Section{{
		Title: "Connection mode: memory of an idle pair",
		About: fmt.Sprintf("%d connections and as many to the targets (io.Copy: %d, since a pair holds six descriptors there; socat: %d, a process for each), of which each has "+
			"passed on %d bytes: resident memory with them less without them, divided by their number. The kernel's own memory is not in it.",
			b.size.idle, b.held(contender.Copier), b.held(contender.Socat), b.size.line),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "idle-pairs", "Connection mode: memory of an idle pair", "KB", t.Columns...)},
	}}, err
}

// held is how many connections a contender holds: io.Copy has two pipes for each, and with all of them ran into a limit of 20,000
// descriptors; socat has a process for each.
func (b *Bench) held(name string) int {
	switch name {
	case contender.Copier:
		return b.size.idle * 3 / 4
	case contender.Socat:
		return min(b.size.idle, 200)
	}
	return b.size.idle
}

// idleRun returns the KB of resident memory for each of n connections: with silent first before they have written, and then when
// each has written one line.
func (b *Bench) idleRun(ctx context.Context, s contender.Setup, n int, silent bool) (grown []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	st, err := b.raise(ctx, s, "sink")
	if err != nil {
		return nil, err
	}
	defer st.stop()
	idlers, err := load.Spawn(ctx, "idle", "-to", strings.Join(st.to, ","), "-size", strconv.Itoa(b.size.line))
	if err != nil {
		return nil, err
	}
	defer idlers.Stop()

	grown, err = b.idleMemory(ctx, st, idlers, n, silent)
	idlers.Stop()
	if err != nil {
		return nil, err
	}
	return grown, st.proxy.Stop()
}

func (b *Bench) idleMemory(ctx context.Context, st *stage, idlers *load.Child, n int, silent bool) (grown []float64, err error) {
	pid := st.proxy.Pid()
	if err := openIdle(ctx, pid, idlers, idleWarm); err != nil {
		return nil, err
	}
	if err := b.oneLineEach(idlers, st.target, idleWarm); err != nil {
		return nil, err
	}
	before, err := procstat.SettledMemory(ctx, pid, b.size.settle)
	if err != nil {
		return nil, err
	}
	measure := func() error {
		now, err := procstat.SettledMemory(ctx, pid, b.size.settle)
		grown = append(grown, float64(now-before)/float64(n)/1e3)
		return err
	}
	if err := openIdle(ctx, pid, idlers, n); err != nil {
		return nil, err
	}
	if silent {
		if err := measure(); err != nil {
			return nil, err
		}
	}
	if err := b.oneLineEach(idlers, st.target, idleWarm+idleWarm+n); err != nil {
		return nil, err
	}
	err = measure()
	return grown, err
}

// openIdle opens n connections more, and waits until the proxy has accepted them.
func openIdle(ctx context.Context, pid int, idlers *load.Child, n int) error {
	before, err := procstat.SettledDescriptors(ctx, pid)
	if err != nil {
		return err
	}
	if _, err := idlers.Ask(fmt.Sprintf("open %d", n), "opened"); err != nil {
		return err
	}
	return procstat.AwaitDescriptors(ctx, pid, before+n)
}

// oneLineEach sends a line on each connection, and waits until the sink has so many in all.
func (b *Bench) oneLineEach(idlers, sink *load.Child, lines int) error {
	if _, err := sink.Ask(fmt.Sprintf("expect %d", lines*b.size.line), "expecting"); err != nil {
		return err
	}
	if _, err := idlers.Ask("write", "wrote"); err != nil {
		return err
	}
	_, err := sink.Await("reached")
	return err
}
