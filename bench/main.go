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
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			runRole(role, os.Args[2:])
			return
		}
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
	b := &bench{options: o, dir: dir, log: stderr}
	if b.linesplit, err = binary(ctx, o.linesplit, dir); err != nil {
		return err
	}
	if b.certs, err = makeCertificates(dir); err != nil {
		return err
	}
	b.programs = findPrograms(ctx, func(err error) { fmt.Fprintf(stderr, "bench: %v: measuring without it\n", err) })

	r := newReport(ctx, b)
	err = b.measure(ctx, r)
	r.finish(b)
	if err := errors.Join(err, r.text(stdout)); err != nil {
		return err
	}
	return r.write(o)
}

// bench runs the sections. It belongs to the main goroutine, as all its methods do.
type bench struct {
	options
	programs programs
	certs    certificates
	dir      string // for files that go away at the end
	log      io.Writer

	progress progress
	seconds  float64  // planned for the section that runs
	notes    []string // what went wrong with others
}

// measure runs the sections that are wanted, and adds them to the report. When one fails, those before are in it.
func (b *bench) measure(ctx context.Context, r *report) error {
	b.progress = progress{begun: time.Now()}
	for _, k := range b.only {
		b.progress.planned += k.seconds(b)
	}
	for _, k := range b.only {
		fmt.Fprintf(b.log, "%s: %s\n", k.name, k.title)
		b.seconds = k.seconds(b)
		before, done, begun := machineCPU(), b.progress.done, time.Now()
		found, err := k.run(b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		b.progress.done = done + b.seconds
		fmt.Fprintf(b.log, "  %.0f s\n", time.Since(begun).Seconds())
		r.add(k, found, before, machineCPU())
	}
	return nil
}

// turns calls run for each trial in each repetition, every other time in reverse order. One that fails takes no more part. If it is linesplit's, that
// ends the run; another's is noted.
func (b *bench) turns(ctx context.Context, reps int, trials []*trial, run func(*trial) (string, error)) error {
	for rep := range reps {
		for i := range trials {
			if rep%2 == 1 {
				i = len(trials) - 1 - i
			}
			t := trials[i]
			if t.failed {
				continue
			}
			found, err := run(t)
			if err := b.judge(ctx, t, err); err != nil {
				return err
			}
			b.progress.step(b.seconds / float64(reps*len(trials)))
			fmt.Fprintf(b.log, "  %d/%d  %-42s %-46s %s\n", rep+1, reps, t.label, found, &b.progress)
		}
	}
	return nil
}

// judge returns err if it must end the run, and notes it otherwise.
func (b *bench) judge(ctx context.Context, t *trial, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || t.name == linesplit || t.name == relaying || t.name == direct:
		return fmt.Errorf("%s: %w", t.label, err)
	}
	t.failed = true
	note := fmt.Sprintf("%s failed, and took no more part: %s.", t.label, strings.Join(strings.Fields(err.Error()), " "))
	fmt.Fprintf(b.log, "  %s\n", note)
	b.notes = append(b.notes, note)
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
