//go:build linux

// Package section measures contenders. Each Kind of measurement starts them between the ends of
// package load, in turn, and produces sections of the report.
package section

import (
	"context"
	"fmt"
	"io"
	"strings"

	"linesplit/bench/internal/contender"
)

// Bench runs measurements. All its methods must be called by the main goroutine, whose thread
// starts the children.
type Bench struct {
	contender.Launcher
	Options
	size sizes

	seconds float64  // planned for the measurement that runs
	notes   []string // failures of other proxies, and what could not be measured
}

// Options configure a Bench.
type Options struct {
	Reps     int  // repetitions of most measurements
	Quick    bool // measure little, to test the benchmark itself
	Log      io.Writer
	Progress interface { // of the whole run; Step is told how many of its planned seconds are done
		fmt.Stringer
		Step(seconds float64)
	}
}

// New returns a Bench that measures contenders started by l.
func New(l contender.Launcher, o Options) *Bench {
	b := &Bench{Launcher: l, Options: o, size: fullSizes}
	if o.Quick {
		b.size = quickSizes
	}
	return b
}

// takeTurns calls run for each trial in each repetition, in reverse order in every other one, so
// that a machine that becomes slower or faster does so for all contenders. See handleError for
// trials that fail.
func (b *Bench) takeTurns(ctx context.Context, reps int, trials []*trial, run func(*trial) (string, error)) error {
	for rep := range reps {
		for i := range trials {
			if rep%2 == 1 {
				i = len(trials) - 1 - i
			}
			t := trials[i]
			if t.failed {
				continue
			}
			result, err := run(t)
			if err := b.handleError(ctx, t, err); err != nil {
				return err
			}
			b.Progress.Step(b.seconds / float64(reps*len(trials)))
			fmt.Fprintf(b.Log, "  %d/%d  %-42s %-46s %s\n", rep+1, reps, t.label, result, b.Progress)
		}
	}
	return nil
}

// handleError handles the error of a trial. It returns the error if it must end the run, because
// linesplit or the benchmark itself has failed. The failure of another proxy is noted, and its
// trial is left out from then on.
func (b *Bench) handleError(ctx context.Context, t *trial, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, contender.Ours(t.Name), t.Name == contender.Direct:
		return fmt.Errorf("%s: %w", t.label, err)
	}
	t.failed = true
	reason := strings.Join(strings.Fields(err.Error()), " ")
	b.note(fmt.Sprintf("%s failed and was left out from then on: %s.", t.label, reason))
	return nil
}

// note logs a sentence and puts it at the end of the report.
func (b *Bench) note(sentence string) {
	fmt.Fprintf(b.Log, "  %s\n", sentence)
	b.notes = append(b.notes, sentence)
}
