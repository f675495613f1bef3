//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The kernel kills our children when the thread that started them ends. The main goroutine starts them all, on a thread that
// lives as long as the program.
func init() { runtime.LockOSThread() }

func main() {
	if play(allRoles(), os.Args[1:]) {
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
	l := launcher{flags: o.flags, threads: o.threads, dir: dir}
	if l.linesplit, err = binary(ctx, o.linesplit, dir); err != nil {
		return err
	}
	if l.certs, err = makeCertificates(dir); err != nil {
		return err
	}
	l.programs = findPrograms(ctx, func(err error) { fmt.Fprintf(stderr, "bench: %v: measuring without it\n", err) })

	p := &progress{}
	b := newBench(l, benchOptions{Reps: o.reps, Quick: o.quick, Log: stderr, Progress: p})
	r := b.newReport(ctx)
	err = measure(ctx, b, o.only, p, r)
	b.finish(r)
	if err := errors.Join(err, r.text(stdout)); err != nil {
		return err
	}
	return r.write(o.markdown, o.json)
}

// measure runs the sections that are wanted, and adds them to the report. When one fails, those before are in it.
func measure(ctx context.Context, b *bench, only []*kind, p *progress, r *report) error {
	p.begun = time.Now()
	for _, k := range only {
		p.planned += k.Seconds(b)
	}
	for _, k := range only {
		fmt.Fprintf(b.Log, "%s: %s\n", k.name, k.title)
		before, done, begun := machineCPU(), p.done, time.Now()
		found, err := k.Run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		p.done = done + k.Seconds(b)
		fmt.Fprintf(b.Log, "  %.0f s\n", time.Since(begun).Seconds())
		r.add(k.name, found, machineCPU().stolenSince(before))
	}
	return nil
}

// binary returns the absolute path of the binary to measure, which it builds if path is empty.
func binary(ctx context.Context, path, dir string) (string, error) {
	if path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		return exec.LookPath(path)
	}
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	path = filepath.Join(dir, "linesplit")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	build.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build linesplit: %w\n%s", err, out)
	}
	return path, nil
}
