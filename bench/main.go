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
	"slices"
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

// sections are the values of -only, in the order in which they run: line mode's, then connection mode's.
var sections = []struct {
	name string
	run  func(*bench, context.Context) (section, error)
}{
	{"throughput", (*bench).throughput},
	{"latency", (*bench).latency},
	{"idle", (*bench).idle},
	{"scale", (*bench).scale},
	{"bulk", (*bench).bulk},
	{"connections", (*bench).connections},
	{"roundtrip", (*bench).roundtrip},
	{"idle-pairs", (*bench).idlePairs},
}

func sectionNames() (names []string) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// options say what to measure and how much of it.
type options struct {
	linesplit string // path of the binary; built if empty
	flags     string // more of linesplit's, separated by spaces
	haproxy   string // path; empty if there is none
	nginx     nginxBinary
	only      []string
	reps      int
	threads   int // of each proxy
	quick     bool
	markdown  string // file to write to; empty for none

	size sizes
}

// sizes are what one repetition moves.
type sizes struct {
	line       int   // bytes, newline included
	throughput int64 // bytes
	check      int64 // bytes of the run whose lines are looked at
	scale      int64 // bytes
	seconds    int   // of latency
	rate       int   // lines per second of latency, and round trips
	idle       int   // connections
	senders    []int // of scale, with two targets
	targets    []int // of scale, with two senders

	bulk   int64         // bytes
	calls  int           // connections one after the other
	trips  int           // round trips
	settle time.Duration // for which memory must stay as it is before it counts
}

var (
	fullSizes = sizes{line: 600, throughput: 8e9, check: 1e9, scale: 4e9, seconds: 10, rate: 4000, idle: 4000,
		senders: []int{1, 10, 100, 1000}, targets: []int{1, 8, 32}, bulk: 3e9, calls: 15000, trips: 6000, settle: 3 * time.Second}
	quickSizes = sizes{line: 600, throughput: 1e9, check: 1e8, scale: 5e8, seconds: 2, rate: 4000, idle: 500,
		senders: []int{1, 10, 100, 1000}, targets: []int{1, 8, 32}, bulk: 1e9, calls: 3000, trips: 5000, settle: time.Second}
)

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", strings.Join(sectionNames(), ","), "comma-separated `sections` to run")
	flags.StringVar(&o.linesplit, "linesplit", "", "`path` of the binary to measure (built from this module if empty)")
	flags.StringVar(&o.flags, "linesplit-flags", "", "more `flags` for linesplit, separated by spaces")
	flags.IntVar(&o.reps, "reps", 5, "repetitions; figures are their medians")
	flags.IntVar(&o.threads, "threads", 2, "threads that each proxy may use (nbthread, GOMAXPROCS)")
	flags.BoolVar(&o.quick, "quick", false, "small sizes and one repetition: to see that all works, not for figures")
	flags.StringVar(&o.markdown, "markdown", "", "also write the tables to `file`: between its lines "+markBegin+" and "+markEnd+", or as a new file")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.Split(*only, ",")
	o.size = fullSizes
	if o.quick {
		o.size, o.reps = quickSizes, 1
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	var errs []error
	for _, s := range o.only {
		if names := sectionNames(); !slices.Contains(names, s) {
			errs = append(errs, fmt.Errorf("-only %s: no such section: there are %s", s, strings.Join(names, ", ")))
		}
	}
	if o.reps < 1 {
		errs = append(errs, fmt.Errorf("-reps %d: must be 1 or more", o.reps))
	}
	if o.threads < 1 {
		errs = append(errs, fmt.Errorf("-threads %d: must be 1 or more", o.threads))
	}
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", rest[0]))
	}
	return errors.Join(errs...)
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
	if o.linesplit, err = binary(ctx, o.linesplit, dir); err != nil {
		return err
	}
	if o.haproxy, err = exec.LookPath("haproxy"); err != nil {
		fmt.Fprintln(stderr, "bench: haproxy is not on PATH: measuring without it")
	}
	if o.nginx, err = findNginx(ctx); err != nil {
		fmt.Fprintf(stderr, "bench: %v: measuring without nginx\n", err)
	}

	b := &bench{options: o, dir: dir, log: stderr}
	r := newReport(ctx, b)
	if err := b.measure(ctx, r); err != nil {
		return err
	}
	r.finish()
	if err := r.text(stdout); err != nil {
		return err
	}
	if o.markdown != "" {
		return r.writeMarkdown(o.markdown)
	}
	return nil
}

// bench runs the sections. It belongs to the main goroutine, as all its methods do.
type bench struct {
	options
	dir string // for files that go away at the end
	log io.Writer
}

func (b *bench) measure(ctx context.Context, r *report) error {
	for _, s := range sections {
		if !slices.Contains(b.only, s.name) {
			continue
		}
		sec, err := s.run(b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.sections = append(r.sections, sec)
	}
	return nil
}

// turns calls run for each contender in each repetition, every other time in reverse order.
func (b *bench) turns(reps int, contenders []string, run func(contender int) (string, error)) error {
	for rep := range reps {
		for i := range contenders {
			if rep%2 == 1 {
				i = len(contenders) - 1 - i
			}
			found, err := run(i)
			if err != nil {
				return fmt.Errorf("%s: %w", contenders[i], err)
			}
			fmt.Fprintf(b.log, "  %d/%d  %-32s %s\n", rep+1, reps, contenders[i], found)
		}
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
