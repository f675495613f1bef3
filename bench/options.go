//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/section"
	"linesplit/bench/report"
)

func kindNames() (names []string) {
	for _, k := range section.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// options say what to measure and how much of it.
type options struct {
	linesplit string   // path of the binary; built if empty
	flags     string   // additional flags for linesplit, separated by spaces
	old       string   // path of the old linesplit; empty for none
	oldFlags  string   // additional flags for the old linesplit
	without   []string // other proxies that are not measured
	only      []*section.Kind
	reps      int
	threads   int    // of each proxy
	disk      string // folder for lines on disk; empty for the one for temporary files
	quick     bool
	markdown  string // path of the file to write, empty for none
	json      string // path of the file to write, empty for none
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", strings.Join(kindNames(), ","), "comma-separated `kinds` of measurements")
	flags.StringVar(&o.linesplit, "linesplit", "", "`path` of the binary to measure (built from this module if empty)")
	flags.StringVar(&o.flags, "linesplit-flags", "", "additional `flags` for linesplit, separated by spaces")
	flags.StringVar(&o.old, "linesplit-old", "", "`path` of another linesplit, to compare two builds in the same run")
	flags.StringVar(&o.oldFlags, "linesplit-old-flags", "", "additional `flags` for the linesplit of -linesplit-old")
	beside := flags.String("beside", strings.Join(contender.Others, ","),
		"comma-separated `proxies` to measure beside linesplit, if they are installed; empty for none")
	flags.IntVar(&o.reps, "reps", 3, "repetitions; figures are their medians")
	flags.IntVar(&o.threads, "threads", 2, "threads that each proxy may use (nbthread, GOMAXPROCS)")
	flags.StringVar(&o.disk, "disk", "", "`folder` for the lines on disk of -only spool "+
		"(the one for temporary files if empty)")
	flags.BoolVar(&o.quick, "quick", false, "small sizes and one repetition, to see that everything works; "+
		"the figures mean nothing")
	flags.StringVar(&o.markdown, "markdown", "", "also write the tables to `file`: between its lines "+
		report.MarkBegin+" and "+report.MarkEnd+", or as a new file")
	flags.StringVar(&o.json, "json", "", "also write everything to `file`, from which tools/charts draws charts "+
		"beside it; -markdown then shows them")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.reps = 1
	}
	return o, errors.Join(o.choose(strings.Split(*only, ",")), o.chooseBeside(*beside), o.check(flags.Args()))
}

// choose sets the kinds of measurements to run.
func (o *options) choose(names []string) error {
	for _, name := range names {
		if !slices.Contains(kindNames(), name) {
			return fmt.Errorf("-only %s: unknown kind, want one of %s", name, strings.Join(kindNames(), ", "))
		}
	}
	for _, k := range section.Kinds() {
		if slices.Contains(names, k.Name) {
			o.only = append(o.only, k)
		}
	}
	return nil
}

// chooseBeside sets which other proxies are not measured: all but those of a comma-separated list.
func (o *options) chooseBeside(list string) error {
	names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	for _, name := range names {
		if !slices.Contains(contender.Others, name) {
			return fmt.Errorf("-beside %s: unknown proxy, want some of %s", name, strings.Join(contender.Others, ", "))
		}
	}
	o.without = slices.DeleteFunc(slices.Clone(contender.Others), func(name string) bool {
		return slices.Contains(names, name)
	})
	return nil
}

// check returns an error for each flag with a bad value, and for arguments that are no flags.
func (o options) check(rest []string) error {
	var errs []error
	if o.reps < 1 {
		errs = append(errs, fmt.Errorf("-reps %d: must be 1 or more", o.reps))
	}
	if o.threads < 1 {
		errs = append(errs, fmt.Errorf("-threads %d: must be 1 or more", o.threads))
	}
	if o.oldFlags != "" && o.old == "" {
		errs = append(errs, errors.New("-linesplit-old-flags: needs -linesplit-old"))
	}
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", rest[0]))
	}
	return errors.Join(errs...)
}
