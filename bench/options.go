//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// kind is a kind of measurement: a value of -only.
type kind struct {
	name, title string
	seconds     func(*bench) float64 // that it takes, roughly
	run         func(*bench, context.Context) ([]section, error)
}

// kinds returns all of them in the order in which they run: line mode's, then connection mode's, then those of both.
func kinds() []*kind {
	return []*kind{
		{"throughput", "line mode", (*bench).throughputTime, (*bench).throughput},
		{"latency", "line mode", (*bench).latencyTime, (*bench).latency},
		{"idle", "line mode, memory of idle connections", (*bench).idleTime, (*bench).idle},
		{"bulk", "connection mode", (*bench).bulkTime, (*bench).bulk},
		{"connections", "connection mode", (*bench).connectionsTime, (*bench).connections},
		{"roundtrip", "connection mode", (*bench).roundtripTime, (*bench).roundtrip},
		{"idle-pairs", "connection mode, memory of idle pairs", (*bench).pairsTime, (*bench).idlePairs},
		{"tls", "both modes, TLS in, out and both", (*bench).tlsTime, (*bench).tls},
		{"factors", "both modes, one factor at a time", (*bench).factorsTime, (*bench).factors},
	}
}

func kindNames() (names []string) {
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// options say what to measure and how much of it.
type options struct {
	linesplit string // path of the binary; built if empty
	flags     string // more of linesplit's, separated by spaces
	only      []*kind
	reps      int
	threads   int // of each proxy
	quick     bool
	markdown  string // file to write to; empty for none
	json      string // likewise

	size sizes
}

// sizes are what one repetition moves.
type sizes struct {
	line       int           // bytes, newline included
	throughput int64         // bytes
	check      int64         // bytes of the run whose lines are looked at
	seconds    int           // of latency
	rate       int           // lines per second of latency, and round trips
	idle       int           // connections
	bulk       int64         // bytes
	calls      int           // connections one after the other
	trips      int           // round trips
	settle     time.Duration // for which memory must stay as it is before it counts
	tls        int64         // bytes
	factor     int64         // bytes

	lines, senders, targets, workers []int // factors: each is varied while the others stay as at the base point
}

var (
	fullSizes = sizes{line: 600, throughput: 8e9, check: 5e8, seconds: 8, rate: 4000, idle: 4000, bulk: 4e9, calls: 15000, trips: 16000,
		settle: 2 * time.Second, tls: 2e9, factor: 2e9,
		lines: []int{100, 600, 4 << 10, 64 << 10}, senders: []int{1, 2, 10, 100, 1000}, targets: []int{1, 2, 8, 32}, workers: []int{1, 2, 4, 8, 16}}
	quickSizes = sizes{line: 600, throughput: 5e8, check: 5e7, seconds: 1, rate: 4000, idle: 300, bulk: 5e8, calls: 2000, trips: 3000,
		settle: 500 * time.Millisecond, tls: 2e8, factor: 1e8,
		lines: fullSizes.lines, senders: fullSizes.senders, targets: fullSizes.targets, workers: fullSizes.workers}
)

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", strings.Join(kindNames(), ","), "comma-separated `kinds` of measurements")
	flags.StringVar(&o.linesplit, "linesplit", "", "`path` of the binary to measure (built from this module if empty)")
	flags.StringVar(&o.flags, "linesplit-flags", "", "more `flags` for linesplit, separated by spaces")
	flags.IntVar(&o.reps, "reps", 3, "repetitions; figures are their medians")
	flags.IntVar(&o.threads, "threads", 2, "threads that each proxy may use (nbthread, GOMAXPROCS)")
	flags.BoolVar(&o.quick, "quick", false, "small sizes and one repetition: to see that all works, not for figures")
	flags.StringVar(&o.markdown, "markdown", "", "also write the tables to `file`: between its lines "+markBegin+" and "+markEnd+", or as a new file")
	flags.StringVar(&o.json, "json", "", "also write everything to `file`, from which tools/charts draws the charts beside it; -markdown then shows them")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.size = fullSizes
	if o.quick {
		o.size, o.reps = quickSizes, 1
	}
	return o, errors.Join(o.choose(strings.Split(*only, ",")), o.check(flags.Args()))
}

// choose sets what to measure.
func (o *options) choose(names []string) error {
	for _, name := range names {
		if !slices.Contains(kindNames(), name) {
			return fmt.Errorf("-only %s: no such kind: there are %s", name, strings.Join(kindNames(), ", "))
		}
	}
	for _, k := range kinds() {
		if slices.Contains(names, k.name) {
			o.only = append(o.only, k)
		}
	}
	return nil
}

func (o options) check(rest []string) error {
	var errs []error
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
