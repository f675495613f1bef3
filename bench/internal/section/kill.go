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

// killSenders is the number of senders of a proxy that is killed.
const killSenders = 2

// restCPU is the processor time, in seconds, that a proxy with nothing to do does not use.
const restCPU = 0.01

func (b *Bench) killContenders() []string {
	return without(b.spoolContenders(), contender.OldLinesplit)
}

// kill counts what is lost and what arrives twice when proxies are killed and started again.
func (b *Bench) kill(ctx context.Context) (report.Section, error) {
	t, trials := newTrials(b.killContenders(), "up: lost", "up: twice", "down: read", "down: lost", "down: twice",
		"down: ms until the last")
	t.Whole = true
	err := b.takeTurns(ctx, b.Reps, trials, func(t *trial) (string, error) {
		up, err := b.killRun(ctx, t.Setup, true)
		if err != nil {
			return "", fmt.Errorf("targets up: %w", err)
		}
		down, err := b.killRun(ctx, t.Setup, false)
		if err != nil {
			return "", fmt.Errorf("targets down: %w", err)
		}
		t.add(float64(up.lost), float64(up.again), float64(down.read), float64(down.lost), float64(down.again),
			1e3*down.seconds)
		return fmt.Sprintf("up: %d lost, %d twice  down: %d lost", up.lost, up.again, down.lost), nil
	})
	return report.Section{
		Title: "Spool: kill -9",
		About: fmt.Sprintf("%d senders write %d numbered lines of %d bytes, one in each call. When the proxy has read "+
			"all of them, or reads no more, it is killed with SIGKILL and started again, and two targets count which lines "+
			"arrive. Up: the targets are there all the time, so most lines have left the proxy before. Down: they refuse "+
			"connections until it is killed, so all lines that it has read are in it.",
			killSenders, b.size.killed, b.size.line),
		Table:   t,
		Figures: []report.Figure{report.Bars(t, "spool-kill", "Spool: lines lost after kill -9", "lines", "up: lost", "down: lost")},
	}, err
}

// killResult holds what a kill cost.
type killResult struct {
	read, lost int     // lines
	again      int     // lines that arrived although they were there
	seconds    float64 // from the start of the new process until the last line
}

func (b *Bench) killRun(ctx context.Context, s contender.Setup, up bool) (r killResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	args := []string{"-size", strconv.Itoa(b.size.line), "-conns", strconv.Itoa(killSenders),
		"-count", strconv.Itoa(b.size.killed / killSenders)}
	st, err := b.startStage(ctx, setting{Setup: s}, "tally", args...)
	if err != nil {
		return r, err
	}
	defer st.stop()
	if up {
		if _, err := st.target.Ask("open", "opened"); err != nil {
			return r, err
		}
	}
	sender, err := load.Spawn(ctx, "number", append(args, "-to", strings.Join(st.to, ","))...)
	if err != nil {
		return r, err
	}
	defer sender.Stop()
	if r.read, err = b.awaitRead(ctx, st, sender); err != nil {
		return r, err
	}
	st.proxy.Kill()
	if !up {
		if _, err := st.target.Ask("open", "opened"); err != nil {
			return r, err
		}
	}
	begin := time.Now()
	if err := b.startProxy(ctx, st); err != nil {
		return r, fmt.Errorf("after the kill: %w", err)
	}
	arrived, last, err := b.awaitLines(ctx, st, r.read)
	if err != nil {
		return r, err
	}
	r.lost, r.again, r.seconds = max(r.read-arrived.distinct, 0), arrived.again, last.Sub(begin).Seconds()
	return r, st.proxy.Stop()
}

// awaitRead lets a sender begin, and waits until the proxy has read all of its lines or reads no
// more. It returns how many lines the proxy has read.
func (b *Bench) awaitRead(ctx context.Context, st *stage, sender *load.Child) (lines int, err error) {
	if _, err := sender.Await("connected"); err != nil {
		return 0, err
	}
	if _, err := sender.Ask("go", "going"); err != nil {
		return 0, err
	}
	all := int64(b.size.killed/killSenders) * killSenders
	for since, before := time.Now(), int64(-1); ; {
		fields, err := sender.Ask("written", "written")
		if err != nil {
			return 0, err
		}
		written, err := strconv.ParseInt(strings.Join(fields, " "), 10, 64)
		if err != nil {
			return 0, err
		}
		unread, err := procstat.Unread(st.to[0])
		if err != nil {
			return 0, err
		}
		size := int64(b.size.line)
		read := written - (unread+size-1)/size
		switch {
		case read != before:
			before, since = read, time.Now()
		case read == all, time.Since(since) >= b.size.quiet: // seen twice: Unread may miss bytes that move
			return int(read), nil
		}
		if err := procstat.Pause(ctx, readInterval); err != nil {
			return 0, err
		}
	}
}

// arrivals are the counters of a tally.
type arrivals struct{ distinct, again int }

// awaitLines waits until want different lines have arrived and no others come. If lines are
// missing, it waits five times as long for a proxy at rest, which may still read its files on a
// slow machine. last is the time at which the last line came.
func (b *Bench) awaitLines(ctx context.Context, st *stage, want int) (now arrivals, last time.Time, err error) {
	last = time.Now()
	busy, used := last, 0.0
	for {
		got, err := arrivalsAt(st.target)
		if err != nil {
			return now, last, err
		}
		cpu, err := st.proxy.CPU()
		if err != nil {
			return now, last, err
		}
		if cpu-used > restCPU {
			busy, used = time.Now(), cpu
		}
		if got != now {
			now, last = got, time.Now()
			busy = last
		}
		limit := b.size.quiet
		if now.distinct < want {
			limit *= 5
		}
		if time.Since(busy) >= limit {
			return now, last, nil
		}
		if err := procstat.Pause(ctx, readInterval); err != nil {
			return now, last, err
		}
	}
}

// arrivalsAt asks a tally for its counters. Lines that are not as they were sent are an error.
func arrivalsAt(tally *load.Child) (a arrivals, err error) {
	fields, err := tally.Ask("total", "total")
	if err != nil {
		return a, err
	}
	var altered int
	if _, err := fmt.Sscan(strings.Join(fields, " "), &a.distinct, &a.again, &altered); err != nil {
		return a, err
	}
	if altered > 0 {
		return a, fmt.Errorf("%d lines not as they were sent", altered)
	}
	return a, nil
}
