package cli

import (
	"context"
	"io"
	"strings"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/flags"
	"linesplit/internal/service"
	"linesplit/internal/simulate"
	"linesplit/linebuf"
)

func demoCommand() command {
	return command{
		name:    "demo",
		summary: "See it at work for 15 seconds; needs nothing else",
		text: `linesplit demo shows linesplit at work for 15 seconds, all in one process: three senders, one of
which sends most of the lines, and three targets, one of which is killed on the way. It counts every
line, and needs nothing else. Exit code 0: all lines arrived whole.

With -spool, linesplit is a process of its own that keeps lines on disk. It is killed (SIGKILL) with
lines inside, and started again.

Usage:
  linesplit demo [-spool]
`,
		options: []flags.Option{{Name: "spool", Group: "Demo",
			Help: "kill linesplit itself, in place of a target, to show that no line in its spool is lost"}},
		run: runDemo,
	}
}

func runDemo(ctx context.Context, in invocation) int {
	s, err := in.command.parse(in.args)
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		return in.explain(err)
	}
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	if s.Bool("spool") {
		return in.runCrashDemo(ctx)
	}
	if err := simulate.Demo(ctx, in.stdout, demoPipeline, simulate.DemoOptions{}); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// demoPipeline runs line mode with flags that every user can give, whatever the environment holds.
// Its log is discarded.
func demoPipeline(ctx context.Context, targets []string, running func(simulate.Running)) (simulate.Ledger, error) {
	cfg, err := config.ParseFlags([]string{
		"-listen", "tcp://127.0.0.1:0", "-target", strings.Join(targets, ","), "-failback-interval", "1s",
	})
	if err != nil {
		return simulate.Ledger{}, err
	}
	var ledger simulate.Ledger
	var last func() simulate.Ledger
	err = service.Run(ctx, cfg, service.Options{Stdout: io.Discard, Stderr: io.Discard, Started: func(r service.Running) {
		last = func() simulate.Ledger { return demoLedger(r.Status()) }
		running(simulate.Running{Addr: strings.TrimPrefix(r.Listeners[0], "tcp://"), Ledger: last})
	}})
	if last != nil {
		ledger = last()
	}
	return ledger, err
}

// demoLedger returns the ledger of a run in line mode.
func demoLedger(s admin.Status) simulate.Ledger {
	l := simulate.Ledger{
		Received:  linebuf.Count(s.Ledger.Received),
		Confirmed: linebuf.Count(s.Ledger.Confirmed),
		Retained:  linebuf.Count(s.Ledger.Retained),
		Queued:    linebuf.Count(s.Ledger.Queued),
		Dropped:   linebuf.Count(s.Ledger.Dropped),
		Resent:    linebuf.Count(s.Ledger.Resent),
	}
	if s.Spool != nil {
		l.Spooled = linebuf.Count(s.Spool.Appended)
	}
	for _, t := range s.Targets {
		l.Targets = append(l.Targets, simulate.TargetLedger{
			Confirmed: linebuf.Count(t.Lines.Confirmed),
			Resent:    linebuf.Count(t.Lines.Resent),
		})
	}
	return l
}
