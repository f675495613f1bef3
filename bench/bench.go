//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// bench runs the sections. It belongs to the main goroutine, as all its methods do.
type bench struct {
	launcher
	benchOptions
	size sizes

	seconds float64  // planned for the section that runs
	notes   []string // what went wrong with others
}

// benchOptions say how much to measure, and where to tell of it.
type benchOptions struct {
	Reps     int
	Quick    bool // small sizes
	Log      io.Writer
	Progress interface {
		fmt.Stringer
		Step(seconds float64)
	}
}

// newBench returns a bench that measures contenders which l starts.
func newBench(l launcher, o benchOptions) *bench {
	b := &bench{launcher: l, benchOptions: o, size: fullSizes}
	if o.Quick {
		b.size = quickSizes
	}
	return b
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
			b.Progress.Step(b.seconds / float64(reps*len(trials)))
			fmt.Fprintf(b.Log, "  %d/%d  %-42s %-46s %s\n", rep+1, reps, t.label, found, b.Progress)
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
	fmt.Fprintf(b.Log, "  %s\n", note)
	b.notes = append(b.notes, note)
	return nil
}
