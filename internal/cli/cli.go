// Package cli is linesplit's command line. It holds the table of commands, runs the one that the
// first argument names, or linesplit itself, and prints help, the manual page and the shell
// completions from the same table.
package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"linesplit/internal/flags"
	"linesplit/internal/hangup"
	"linesplit/internal/service"
)

// Exit codes.
const (
	exitOK = 0 // everything was confirmed
	// exitFailed means that linesplit could not start, that not everything was confirmed, or, for a
	// command, that lines were lost, altered or not converted, or that its answer could not be
	// written.
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong; nothing was opened
	// exitCannotRun means that a command could not start, or could not reach its peer, and so has
	// no result.
	exitCannotRun = 3
)

// Main runs a command line without its program name, and returns the exit code. The first argument
// may be a command; without one, linesplit itself runs. The version is shown and reported.
func Main(ctx context.Context, version string, args []string, stdout, stderr io.Writer) int {
	in := invocation{version: version, args: args, stdout: stdout, stderr: stderr}
	if len(args) > 0 {
		if c := findCommand(args[0]); c != nil {
			hangup.Release()
			in.command, in.args = *c, args[1:]
			return c.run(ctx, in)
		}
	}
	return runService(ctx, in)
}

// invocation is one run of a command.
type invocation struct {
	command        command
	version        string   // of this linesplit
	args           []string // after the command
	stdout, stderr io.Writer
}

// explain answers a command line for which command.parse, or the code that reads the values, has
// returned an error. It returns the exit code.
func (in invocation) explain(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return in.answer(func(w io.Writer) {
			fmt.Fprint(w, in.command.text)
			flags.PrintOptions(w, in.command.options)
			fmt.Fprint(w, in.command.examples)
		})
	}
	in.fail(exitUsage, err)
	fmt.Fprintf(in.stderr, "run linesplit %s -help for all flags\n", in.command.name)
	return exitUsage
}

// parseArguments reads the command line of a command without flags, and returns its arguments. The
// error is flag.ErrHelp, or flags.Errors with every fault.
func (in invocation) parseArguments() ([]string, error) {
	s, err := in.command.parse(in.args)
	if err == nil {
		err = s.Err()
	}
	return s.Arguments(), err
}

// answer prints what write writes on standard output, and returns the exit code.
func (in invocation) answer(write func(io.Writer)) int {
	var text bytes.Buffer
	write(&text)
	if _, err := in.stdout.Write(text.Bytes()); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// fail prints an error on standard error, and returns code.
func (in invocation) fail(code int, err error) int {
	fmt.Fprintf(in.stderr, "%s: %v\n", strings.TrimSpace("linesplit "+in.command.name), err)
	return code
}

// untilInterrupted returns a context that ends with SIGINT or SIGTERM. A second signal ends the
// process at once, unless it comes so soon that it is a repetition.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	interrupted, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(interrupted, func() { time.AfterFunc(service.RepeatedWithin, release) })
	return interrupted, cancel
}
