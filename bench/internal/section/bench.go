//go:build linux

// Package section measures: each kind of measurement gives sections of the report.
package section

import (
	"context"
	"fmt"
	"io"
	"strings"

	"linesplit/bench/internal/contender"
)

// Bench runs the sections. It belongs to the main goroutine, as all its methods do.
type Bench struct {
	contender.Launcher
	Options
	size sizes

	seconds float64  // planned for the section that runs
	notes   []string // what went wrong with others
}

// Options say how much to measure, and where to tell of it.
type Options struct {
	Reps     int
	Quick    bool // small sizes
	Log      io.Writer
	Progress interface {
		fmt.Stringer
		Step(seconds float64)
	}
}

// New returns a bench that measures contenders which l starts.
func New(l contender.Launcher, o Options) *Bench {
	b := &Bench{Launcher: l, Options: o, size: fullSizes}
	if o.Quick {
		b.size = quickSizes
	}
	return b
}

// turns calls run for each trial in each repetition, every other time in reverse order. One that fails takes no more part. If it is linesplit's, that
// ends the run; another's is noted.
func (b *Bench) turns(ctx context.Context, reps int, trials []*trial, run func(*trial) (string, error)) error {
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
func (b *Bench) judge(ctx context.Context, t *trial, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || t.Name == contender.Linesplit || t.Name == contender.Relaying || t.Name == contender.Direct:
		return fmt.Errorf("%s: %w", t.label, err)
	}
	t.failed = true
	note := fmt.Sprintf("%s failed, and took no more part: %s.", t.label, strings.Join(strings.Fields(err.Error()), " "))
	fmt.Fprintf(b.Log, "  %s\n", note)
	b.notes = append(b.notes, note)
	return nil
}
