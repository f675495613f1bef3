//go:build linux

package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"time"
)

// idleWarm connections come first, so that what a proxy needs only once is not counted.
const idleWarm = 16

func (b *bench) idle(ctx context.Context) (section, error) {
	names := b.contenders(false)
	fmt.Fprintf(b.log, "idle: %d connections\n", b.size.idle)
	t := newTable(names, "KB each, never wrote", "KB each, after a line")
	err := b.turns(names, func(i int) (string, error) {
		silent, spoke, err := b.idleRun(ctx, names[i])
		if err != nil {
			return "", err
		}
		t.add(i, silent/1e3, spoke/1e3)
		return fmt.Sprintf("%.1f %.1f KB", silent/1e3, spoke/1e3), nil
	})
	t.addRatio(linesplit, haproxy)
	return section{
		title: "Memory of an idle connection",
		about: fmt.Sprintf("%d plain connections: resident memory with them less without them, divided by their number. First none of them "+
			"has written anything, then each has sent one line. The kernel's own memory is not in it; HAProxy opens a connection to a target for each.", b.size.idle),
		table: t,
	}, err
}

// idleRun returns the bytes of resident memory for each connection that has not written yet, and that has written one line.
func (b *bench) idleRun(ctx context.Context, name string) (silent, spoke float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	sink, err := spawn(ctx, "sink")
	if err != nil {
		return 0, 0, err
	}
	defer sink.stop()
	targets, err := sink.await("listening")
	if err != nil {
		return 0, 0, err
	}
	p, err := b.startProxy(ctx, name, targets)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	idlers, err := spawn(ctx, "idle", "-to", p.addr, "-line", strconv.Itoa(b.size.line))
	if err != nil {
		return 0, 0, err
	}
	defer idlers.stop()

	silent, spoke, err = b.idleMemory(ctx, p.cmd.Process.Pid, idlers, sink)
	idlers.stop()
	if err != nil {
		return 0, 0, err
	}
	return silent, spoke, p.stop()
}

func (b *bench) idleMemory(ctx context.Context, pid int, idlers, sink *child) (silent, spoke float64, err error) {
	if err := openIdle(ctx, pid, idlers, idleWarm); err != nil {
		return 0, 0, err
	}
	if err := b.oneLineEach(idlers, sink, idleWarm); err != nil {
		return 0, 0, err
	}
	before, err := settledRSS(ctx, pid)
	if err != nil {
		return 0, 0, err
	}
	if err := openIdle(ctx, pid, idlers, b.size.idle); err != nil {
		return 0, 0, err
	}
	open, err := settledRSS(ctx, pid)
	if err != nil {
		return 0, 0, err
	}
	if err := b.oneLineEach(idlers, sink, idleWarm+idleWarm+b.size.idle); err != nil {
		return 0, 0, err
	}
	after, err := settledRSS(ctx, pid)
	if err != nil {
		return 0, 0, err
	}
	n := float64(b.size.idle)
	return float64(open-before) / n, float64(after-before) / n, nil
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
func idleRole(args []string, in *bufio.Scanner, say func(string, ...any)) error {
	flags := flag.NewFlagSet("idle", flag.ContinueOnError)
	to := flags.String("to", "", "address")
	line := flags.Int("line", 600, "bytes per line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var conns []net.Conn
	text := compose(1, *line)
	for in.Scan() {
		var n int
		if _, err := fmt.Sscanf(in.Text(), "open %d", &n); err == nil {
			more, err := connect([]string{*to}, n)
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
