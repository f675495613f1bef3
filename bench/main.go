//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/internal/procstat"
	"linesplit/bench/internal/section"
	"linesplit/bench/report"
)

// The kernel kills children when the thread that started them ends. The main goroutine starts all
// of them, so it stays on one thread, which lives as long as the program.
func init() { runtime.LockOSThread() }

func main() {
	if load.RunRole(contender.Roles(), os.Args[1:]) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fatal(errors.New("interrupted"))
	case err != nil:
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "linesplit-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := makeDiskFolder(o.disk)
	if err != nil {
		return fmt.Errorf("-disk: %w", err)
	}
	defer os.RemoveAll(disk)
	l := contender.Launcher{Flags: o.flags, OldFlags: o.oldFlags, Threads: o.threads, Without: o.without,
		Dir: dir, Disk: disk}
	if l.Linesplit, err = contender.FindLinesplit(ctx, o.linesplit, dir); err != nil {
		return err
	}
	if o.old != "" {
		if l.Old, err = contender.FindLinesplit(ctx, o.old, dir); err != nil {
			return err
		}
	}
	if l.Certs, err = load.MakeCertificates(dir); err != nil {
		return err
	}
	l.FindPrograms(ctx, func(err error) {
		fmt.Fprintf(stderr, "bench: %v: measuring without it\n", err)
	})

	p := &progress{}
	b := section.New(l, section.Options{Reps: o.reps, Quick: o.quick, Log: stderr, Progress: p})
	r := b.NewReport(ctx)
	err = measure(ctx, b, o.only, p, r)
	b.Finish(r)
	if err := errors.Join(err, r.Text(stdout)); err != nil {
		return err
	}
	return r.Write(o.markdown, o.json)
}

// makeDiskFolder makes a new folder in another one, or in the one for temporary files if in is
// empty. It returns its absolute path, which the configurations of other proxies need.
func makeDiskFolder(in string) (string, error) {
	if in != "" {
		var err error
		if in, err = filepath.Abs(in); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(in, "linesplit-bench-")
}

// measure runs measurements and adds their sections to the report. If one fails, the report holds
// those before it.
func measure(ctx context.Context, b *section.Bench, only []*section.Kind, p *progress, r *report.Report) error {
	p.begun = time.Now()
	for _, k := range only {
		p.planned += k.Seconds(b)
	}
	for _, k := range only {
		fmt.Fprintf(b.Log, "%s: %s\n", k.Name, k.Title)
		before, done, begun := procstat.MachineCPU(), p.done, time.Now()
		found, err := k.Run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
		p.done = done + k.Seconds(b)
		fmt.Fprintf(b.Log, "  %.0f s\n", time.Since(begun).Seconds())
		r.Add(k.Name, found, procstat.MachineCPU().StolenSince(before))
	}
	return nil
}
