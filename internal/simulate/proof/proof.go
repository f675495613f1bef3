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

// Options say which proxy is tested, and how.
type Options struct {
	Proxy Template // starts the proxy
	// Own is set if the proxy is linesplit, of which more is expected: it never breaks a sender's
	// connection, and its exit code reports whether it has delivered everything. Behind another
	// proxy, its targets get ?via-proxy=true.
	Own bool

	Only      []string // names of scenarios; empty: all
	Short     bool     // fewer rounds, less data: all scenarios in about a minute
	KeepGoing bool     // continue after a scenario that failed

	HAProxy string // path of the program, for proxy-between; if empty, that scenario is skipped

	// The goroutine of Run calls Progress, if not nil, about ten times a second, and Done, if not
	// nil, after each scenario.
	Progress func(Progress)
	Done     func(Result)

	patience, quiet time.Duration // for tests; 0: the constants
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

// Progress is the state of a run.
type Progress struct {
	Scenario string
	Number   int    // of the scenario, starting at 1
	Of       int    // number of scenarios
	Sent     uint64 // lines sent in this scenario so far
	Received uint64 // lines received, duplicates included
}

// Info describes a scenario.
type Info struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Scenarios lists all scenarios, in the order in which they run.
func Scenarios() (all []Info) {
	for _, s := range scenarios() {
		all = append(all, Info{s.name, s.about})
	}
	return all
}

// choose returns the scenarios with the given names, in the order in which they run; all if there
// are no names.
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

// CheckNames returns an error that lists the unknown names, or nil.
func CheckNames(names []string) error {
	_, err := choose(names)
	return err
}

// Run runs scenarios one after the other, and returns their results. It ends early when ctx ends,
// when the proxy cannot be started (its error then wraps ErrCannotStart), or, without KeepGoing,
// after the first scenario that failed. When it returns, everything that it started has ended.
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

// runScenario runs one scenario. It returns an error if further scenarios would be useless.
func runScenario(ctx context.Context, o Options, s scenario, id identity, dir string, at Progress) (Result, error) {
	begin := time.Now()
	st := newStage(ctx, o.withDefaults(), s, id, at)
	var err error
	if st.dir, err = os.MkdirTemp(dir, s.name+"-"); err != nil {
		return Result{}, err
	}
	st.start()
	fatal := st.err
	if !st.failed() { // otherwise there may be no targets
		s.run(st)
	}
	r := st.finish()
	r.Seconds = float64(time.Since(begin).Microseconds()) / 1e6
	if errors.Is(fatal, ErrCannotStart) && ctx.Err() == nil {
		return r, fmt.Errorf("%s: %w", s.name, fatal)
	}
	return r, nil
}

// Passed reports whether the proxy failed in none of the results.
func Passed(results []Result) bool { return Failures(results) == "" }

// Failures lists the scenarios that failed and their verdicts, separated by commas.
func Failures(results []Result) string {
	var all []string
	for _, r := range results {
		if !r.Passed() {
			all = append(all, fmt.Sprintf("%s (%s)", r.Scenario, r.Verdict))
		}
	}
	return strings.Join(all, ", ")
}
