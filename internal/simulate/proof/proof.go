package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say what is tried, and how.
type Options struct {
	Proxy Template // starts the proxy
	// Own says that the proxy is linesplit, of which more is expected than of any proxy: it never breaks a sender's connection, and its exit
	// code says whether it has delivered everything. Its targets behind another proxy get ?via-proxy=true.
	Own bool

	Only      []string // names of scenarios; empty: all
	Short     bool     // fewer rounds, less data: all scenarios within a minute
	KeepGoing bool     // go on after a scenario that the proxy did not pass

	HAProxy string // path of the program for proxy-between; empty: that scenario is skipped

	// Progress, if not nil, is called some ten times a second, and Done after each scenario, both by the goroutine of Run.
	Progress func(Progress)
	Done     func(Result)

	patience, quiet time.Duration // for tests: in place of the usual ones
}

func (o Options) withDefaults() Options {
	if o.patience == 0 {
		o.patience = patience
	}
	if o.quiet == 0 {
		o.quiet = quiet
	}
	return o
}

// Progress is where a run stands.
type Progress struct {
	Scenario string
	Number   int    // of the scenario, from 1 on
	Of       int    // scenarios
	Sent     uint64 // lines in this scenario so far
	Received uint64 // of these, repeated ones included
}

// Info describes a scenario.
type Info struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Scenarios lists all there are, in the order in which they run.
func Scenarios() (all []Info) {
	for _, s := range scenarios() {
		all = append(all, Info{s.name, s.about})
	}
	return all
}

// choose returns the scenarios of these names, in their own order; all for no names.
func choose(names []string) ([]scenario, error) {
	all := scenarios()
	var unknown []error
	for _, name := range names {
		if !slices.ContainsFunc(all, func(s scenario) bool { return s.name == name }) {
			unknown = append(unknown, fmt.Errorf("no scenario %q", name))
		}
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(s scenario) bool { return !slices.Contains(names, s.name) })
	}
	return all, errors.Join(unknown...)
}

// CheckNames returns an error for each name of no scenario, or nil.
func CheckNames(names []string) error {
	_, err := choose(names)
	return err
}

// Run runs scenarios one after the other, and returns what came of each. It ends early when ctx ends, when the proxy cannot be
// started (its error wraps ErrCannotStart then), or, without KeepGoing, behind the first scenario that the proxy did not pass. Whatever it
// started is gone when it returns.
func Run(ctx context.Context, o Options) ([]Result, error) {
	chosen, err := choose(o.Only)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "linesplit-proof-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	id, err := newIdentity(dir)
	if err != nil {
		return nil, err
	}
	var results []Result
	for i, s := range chosen {
		r, err := runScenario(ctx, o, s, id, dir, Progress{Scenario: s.name, Number: i + 1, Of: len(chosen)})
		if err != nil {
			return results, err
		}
		results = append(results, r)
		if o.Done != nil {
			o.Done(r)
		}
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		if !r.Passed() && !o.KeepGoing {
			break
		}
	}
	return results, nil
}

// runScenario runs one scenario. Its error is for what makes all further ones useless.
func runScenario(ctx context.Context, o Options, s scenario, id identity, dir string, at Progress) (Result, error) {
	begin := time.Now()
	st := newStage(ctx, o.withDefaults(), s, id, at)
	var err error
	if st.dir, err = os.MkdirTemp(dir, s.name+"-"); err != nil {
		return Result{}, err
	}
	st.setUp()
	fatal := st.err
	if !st.failed() { // else there may be no targets to play with
		s.play(st)
	}
	r := st.finish()
	r.Seconds = time.Since(begin).Seconds()
	if errors.Is(fatal, ErrCannotStart) && ctx.Err() == nil {
		return r, fmt.Errorf("%s: %w", s.name, fatal)
	}
	return r, nil
}

// Passed says whether nothing in any of the results speaks against the proxy.
func Passed(results []Result) bool { return Failures(results) == "" }

// Failures names the scenarios that were not passed, each with its verdict, comma separated.
func Failures(results []Result) string {
	var all []string
	for _, r := range results {
		if !r.Passed() {
			all = append(all, fmt.Sprintf("%s (%s)", r.Scenario, r.Verdict))
		}
	}
	return strings.Join(all, ", ")
}
