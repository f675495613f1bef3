package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// exitCannotRun is a tool's: what it was to measure or to serve could not be started or reached, so that it has nothing to say of it.
// exitFailed says that it ran, and found lines lost or not as they were sent.
const exitCannotRun = 3

// tool is a subcommand with flags of its own. They come from the command line alone: what a shell exports for linesplit itself must not
// reach them.
type tool struct {
	name     string // what follows "linesplit"
	head     string // of its help: what it does, and its usage
	options  []option
	examples string // of its help
	words    bool   // there are arguments beside flags
}

// read returns what the command line says. All that is wrong with it is in the errs of what it returns, which the caller adds to before it
// calls fault. The error is flag.ErrHelp, or nil.
func (t tool) read(args []string) (*settings, error) {
	s := newSettings(append(t.options[:len(t.options):len(t.options)], option{name: "help"}))
	s.stray = "linesplit " + t.name + " takes flags alone"
	s.now = fromFlag
	if t.words {
		s.words = new([]string)
	}
	return s, s.readArgs(args)
}

// fault is all that is wrong, or nil.
func (s *settings) fault() error {
	if len(s.errs) == 0 {
		return nil
	}
	return configErrors(s.errs)
}

// explain answers a command line that read or fault had an error for, and returns the exit code.
func (t tool) explain(err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, t.head)
		printOptions(stdout, t.options)
		fmt.Fprint(stdout, t.examples)
		return exitOK
	}
	fmt.Fprintf(stderr, "linesplit %s: %v\nrun linesplit %s -help for all flags\n", t.name, err, t.name)
	return exitUsage
}
