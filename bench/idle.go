//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// idleWarm connections come first, so that what a proxy needs only once is not counted.
const idleWarm = 16

// idleReps bounds the repetitions: memory hardly differs between runs, and waiting for it to settle takes long.
const idleReps = 3

// An idle run takes as long as memory takes to settle, some times over, and a few milliseconds for each connection.
func (b *bench) idleTime() float64 {
	return float64(min(b.Reps, idleReps)*len(b.lineContenders())) * (3*b.size.settle.Seconds() + 1 + float64(b.size.idle)/4000)
}

func (b *bench) pairsTime() float64 {
	return float64(min(b.Reps, idleReps)*len(b.forwarders())) * (2*b.size.settle.Seconds() + 1 + float64(b.size.idle)/4000)
}

func (b *bench) idle(ctx context.Context) ([]section, error) {
	t, trials := oneTable(b.lineContenders()[1:], "KB each, never wrote", "KB each, after a line")
	err := b.turns(ctx, min(b.Reps, idleReps), trials, func(t *trial) (string, error) {
		grown, err := b.idleRun(ctx, t.setup, b.held(t.name), true)
		if err != nil {
			return "", err
		}
		t.add(grown...)
		return fmt.Sprintf("%.1f %.1f KB", grown[0], grown[1]), nil
	})
	addRatios(t, linesplit)
	return []section{{
		title: "Line mode: memory of an idle connection",
		about: fmt.Sprintf("%d plain connections (socat: %d, a process for each): resident memory with them less without them, divided by their number. First none of them "+
			"has written anything, then each has sent one line. The kernel's own memory is not in it; HAProxy, nginx and socat open a connection to a target for each.",
			b.size.idle, b.held(socat)),
		table:   t,
		figures: []figure{dots(t, "idle", "Line mode: memory of an idle connection", "KB", t.columns...)},
	}}, err
}

func (b *bench) idlePairs(ctx context.Context) ([]section, error) {
	t, trials := oneTable(b.forwarders()[1:], "KB per pair")
	err := b.turns(ctx, min(b.Reps, idleReps), trials, func(t *trial) (string, error) {
		grown, err := b.idleRun(ctx, t.setup, b.held(t.name), false)
		if err != nil {
			return "", err
		}
		t.add(grown...)
		return fmt.Sprintf("%.1f KB", grown[0]), nil
	})
	addRatios(t, relaying)
	return []section{{
		title: "Connection mode: memory of an idle pair",
		about: fmt.Sprintf("%d connections and as many to the targets (io.Copy: %d, since a pair holds six descriptors there; socat: %d, a process for each), of which each has "+
			"passed on %d bytes: resident memory with them less without them, divided by their number. The kernel's own memory is not in it.",
			b.size.idle, b.held(copier), b.held(socat), b.size.line),
		table:   t,
		figures: []figure{dots(t, "idle-pairs", "Connection mode: memory of an idle pair", "KB", t.columns...)},
	}}, err
}

// held is how many connections a contender holds: io.Copy has two pipes for each, and with all of them ran into a limit of 20,000
// descriptors; socat has a process for each.
func (b *bench) held(name string) int {
	switch name {
	case copier:
		return b.size.idle * 3 / 4
	case socat:
		return min(b.size.idle, 200)
	}
	return b.size.idle
}

// idleRun returns the KB of resident memory for each of n connections: with silent first before they have written, and then when
// each has written one line.
func (b *bench) idleRun(ctx context.Context, s setup, n int, silent bool) (grown []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	st, err := b.raise(ctx, s, "sink")
	if err != nil {
		return nil, err
	}
	defer st.stop()
	idlers, err := spawn(ctx, "idle", "-to", strings.Join(st.to, ","), "-size", strconv.Itoa(b.size.line))
	if err != nil {
		return nil, err
	}
	defer idlers.stop()

	grown, err = b.idleMemory(ctx, st, idlers, n, silent)
	idlers.stop()
	if err != nil {
		return nil, err
	}
	return grown, st.proxy.stop()
}

func (b *bench) idleMemory(ctx context.Context, st *stage, idlers *child, n int, silent bool) (grown []float64, err error) {
	pid := st.proxy.pid()
	if err := openIdle(ctx, pid, idlers, idleWarm); err != nil {
		return nil, err
	}
	if err := b.oneLineEach(idlers, st.target, idleWarm); err != nil {
		return nil, err
	}
	before, err := settledMemory(ctx, pid, b.size.settle)
	if err != nil {
		return nil, err
	}
	measure := func() error {
		now, err := settledMemory(ctx, pid, b.size.settle)
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
func openIdle(ctx context.Context, pid int, idlers *child, n int) error {
	before, err := settledDescriptors(ctx, pid)
	if err != nil {
		return err
	}
	if _, err := idlers.ask(fmt.Sprintf("open %d", n), "opened"); err != nil {
		return err
	}
	return awaitDescriptors(ctx, pid, before+n)
}

// oneLineEach sends a line on each connection, and waits until the sink has so many in all.
func (b *bench) oneLineEach(idlers, sink *child, lines int) error {
	if _, err := sink.ask(fmt.Sprintf("expect %d", lines*b.size.line), "expecting"); err != nil {
		return err
	}
	if _, err := idlers.ask("write", "wrote"); err != nil {
		return err
	}
	_, err := sink.await("reached")
	return err
}

// idleRole opens connections on "open N", writes a line on each of all on "write", and holds them.
func idleRole(o roleOptions, in *bufio.Scanner, say func(string, ...any)) error {
	var conns []net.Conn
	text := compose(1, o.size)
	for in.Scan() {
		var n int
		if _, err := fmt.Sscanf(in.Text(), "open %d", &n); err == nil {
			more, err := connect(o.to, n, nil)
			if err != nil {
				return err
			}
			conns = append(conns, more...)
			say("opened")
			continue
		}
		for _, c := range conns {
			if _, err := c.Write(text); err != nil {
				return err
			}
		}
		say("wrote")
	}
	return nil
}
