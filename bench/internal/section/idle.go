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

// idleWarmup is the number of connections that come first, so that memory which a proxy allocates
// only once is not counted.
const idleWarmup = 16

const idleTitle = "Line mode: memory of an idle connection"

// maxIdleReps limits the repetitions: memory hardly differs between runs, and waiting until it
// settles takes long.
const maxIdleReps = 3

func (b *Bench) idleTime() float64 { return b.settleTime(len(b.lineContenders()), 3) }

func (b *Bench) pairsTime() float64 { return b.settleTime(len(b.forwarders()), 2) }

// settleTime estimates how long idle runs take, in seconds, if memory must settle a number of times
// in each.
func (b *Bench) settleTime(contenders, settles int) float64 {
	perRun := float64(settles)*b.size.settle.Seconds() + 1 + float64(b.size.idle)/4000
	return float64(min(b.Reps, maxIdleReps)*contenders) * perRun
}

func (b *Bench) idle(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.lineContenders()[1:], "KB each, never wrote", "KB each, after a line")
	err := b.takeTurns(ctx, min(b.Reps, maxIdleReps), trials, func(t *trial) (string, error) {
		perConn, err := b.idleRun(ctx, t.Setup, b.idleCount(t.Name), true)
		if err != nil {
			return "", err
		}
		t.add(perConn...)
		return fmt.Sprintf("%.1f %.1f KB", perConn[0], perConn[1]), nil
	})
	addRatios(t, contender.Linesplit)
	return []report.Section{{
		Title: idleTitle,
		About: fmt.Sprintf("%d plain connections (socat: %d, a process for each): resident memory with them less without "+
			"them, divided by their number. First none of them has written anything, then each has sent one line. The "+
			"kernel's own memory is not included; HAProxy, nginx and socat open a connection to a target for each.",
			b.size.idle, b.idleCount(contender.Socat)),
		Table:   t,
		Figures: []report.Figure{report.Dots(t, "idle", idleTitle, "KB", t.Columns...)},
	}}, err
}

func (b *Bench) idlePairs(ctx context.Context) ([]report.Section, error) {
	t, trials := newTrials(b.forwarders()[1:], "KB per pair")
	err := b.takeTurns(ctx, min(b.Reps, maxIdleReps), trials, func(t *trial) (string, error) {
		perConn, err := b.idleRun(ctx, t.Setup, b.idleCount(t.Name), false)
		if err != nil {
			return "", err
		}
		t.add(perConn...)
		return fmt.Sprintf("%.1f KB", perConn[0]), nil
	})
	addRatios(t, contender.LinesplitConnection)
	return []report.Section{{
		Title: "Connection mode: memory of an idle pair",
		About: fmt.Sprintf("%d connections and as many to the targets (io.Copy: %d, since a pair holds six descriptors "+
			"there; socat: %d, a process for each), of which each has passed on %d bytes: resident memory with them less "+
			"without them, divided by their number. The kernel's own memory is not included.",
			b.size.idle, b.idleCount(contender.IOCopy), b.idleCount(contender.Socat), b.size.line),
		Table: t,
		Figures: []report.Figure{
			report.Dots(t, "idle-pairs", "Connection mode: memory of an idle pair", "KB", t.Columns...),
		},
	}}, err
}

// idleCount returns how many connections a contender holds. io.Copy holds fewer, as it has two
// pipes for each and has run into a limit of 20,000 descriptors; so does socat, which has a process
// for each.
func (b *Bench) idleCount(name string) int {
	switch name {
	case contender.IOCopy:
		return b.size.idle * 3 / 4
	case contender.Socat:
		return min(b.size.idle, 200)
	}
	return b.size.idle
}

// idleRun returns the resident memory for each of n connections, in KB, when each has written one
// line. With silent, the value before they have written anything comes first.
func (b *Bench) idleRun(ctx context.Context, s contender.Setup, n int, silent bool) (perConn []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	st, err := b.startStage(ctx, setting{Setup: s}, "sink")
	if err != nil {
		return nil, err
	}
	defer st.stop()
	idlers, err := load.Spawn(ctx, "idle", "-to", strings.Join(st.to, ","), "-size", strconv.Itoa(b.size.line))
	if err != nil {
		return nil, err
	}
	defer idlers.Stop()

	perConn, err = b.idleMemory(ctx, st, idlers, n, silent)
	idlers.Stop()
	if err != nil {
		return nil, err
	}
	return perConn, st.proxy.Stop()
}

func (b *Bench) idleMemory(
	ctx context.Context, st *stage, idlers *load.Child, n int, silent bool,
) (perConn []float64, err error) {
	pid := st.proxy.PID()
	if err := openIdle(ctx, pid, idlers, idleWarmup); err != nil {
		return nil, err
	}
	if err := b.oneLineEach(idlers, st.target, idleWarmup); err != nil {
		return nil, err
	}
	before, err := procstat.SettledMemory(ctx, pid, b.size.settle)
	if err != nil {
		return nil, err
	}
	measure := func() error {
		now, err := procstat.SettledMemory(ctx, pid, b.size.settle)
		perConn = append(perConn, float64(now-before)/float64(n)/1e3)
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
	if err := b.oneLineEach(idlers, st.target, idleWarmup+idleWarmup+n); err != nil {
		return nil, err
	}
	err = measure()
	return perConn, err
}

// openIdle opens n more connections and waits until the proxy has accepted them.
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

// oneLineEach sends a line on each connection and waits until the sink has received lines in all.
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
