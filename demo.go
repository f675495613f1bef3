package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"linesplit/admin"
	"linesplit/internal/simulate"
	"linesplit/linebuf"
)

// demo shows linesplit at work, with itself as the pipeline, and returns the exit code.
func demo(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	t := demoCommand()
	s, err := t.read(args)
	if err == nil {
		err = s.fault()
	}
	if err != nil {
		return t.explain(err, stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := simulate.Demo(ctx, stdout, demoPipeline, simulate.DemoOptions{}); err != nil {
		fmt.Fprintf(stderr, "linesplit demo: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func demoCommand() tool {
	return tool{name: "demo", head: `linesplit demo shows linesplit at work for 15 seconds, all in one process: three senders, one of which has most of the lines, and three
targets, one of which is killed on the way. It counts every line, and needs nothing else. Exit code 0: all lines arrived whole.

Usage:
  linesplit demo
`}
}

// demoPipeline is line mode with the flags that anyone could give, and no log.
func demoPipeline(ctx context.Context, targets []string, running func(simulate.Running)) (simulate.Ledger, error) {
	cfg, err := parseConfig([]string{"-listen", "tcp://127.0.0.1:0", "-target", strings.Join(targets, ","), "-failback-interval", "1s"})
	if err != nil {
		return simulate.Ledger{}, err
	}
	logger := silence()
	logger.drain.Store(int64(cfg.DrainTimeout))
	ctx, endInput := context.WithCancel(ctx)
	defer endInput()
	soft, hard, stop := lifetimes(ctx, logger)
	defer stop()
	p, err := newPipeline(cfg, logger)
	if err != nil {
		return simulate.Ledger{}, err
	}
	if err := p.open(soft); err != nil {
		return simulate.Ledger{}, err
	}
	ledger := func() simulate.Ledger {
		var s admin.Status
		p.describe(&s)
		return demoLedger(s)
	}
	running(simulate.Running{Addr: p.in.listeners[0].Addr().String(), Ledger: ledger})
	err = p.serve(soft, hard, func() {}, endInput)
	return ledger(), err
}

func demoLedger(s admin.Status) simulate.Ledger {
	l := simulate.Ledger{
		Received:  linebuf.Count(s.Ledger.Received),
		Confirmed: linebuf.Count(s.Ledger.Confirmed),
		Retained:  linebuf.Count(s.Ledger.Retained),
		Queued:    linebuf.Count(s.Ledger.Queued),
		Dropped:   linebuf.Count(s.Ledger.Dropped),
		Resent:    linebuf.Count(s.Ledger.Resent),
	}
	for _, t := range s.Targets {
		l.Targets = append(l.Targets, simulate.TargetLedger{
			Confirmed: linebuf.Count(t.Lines.Confirmed), Resent: linebuf.Count(t.Lines.Resent),
		})
	}
	return l
}
