package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"linesplit/internal/children"
	"linesplit/internal/config"
	"linesplit/internal/hangup"
	"linesplit/internal/service"
)

// runService runs linesplit itself, and returns the exit code.
func runService(ctx context.Context, in invocation) int {
	cfg, err := config.Parse(in.args)
	if errors.Is(err, config.ErrChecked) {
		return in.reportChecked(cfg)
	}
	if err != nil {
		return in.explainConfig(cfg, err)
	}
	o := service.Options{Stdout: in.stdout, Stderr: in.stderr, Version: in.version, Hangups: hangup.Caught()}
	reaping, stop := context.WithCancel(ctx)
	defer stop()
	go children.Reap(reaping)
	if service.Run(ctx, cfg, o) != nil { // the error has been logged
		return exitFailed
	}
	return exitOK
}

// explainConfig answers a command line for which config.Parse has returned an error. It returns the
// exit code.
func (in invocation) explainConfig(cfg config.Process, err error) int {
	switch {
	case errors.Is(err, flag.ErrHelp):
		return in.answer(printHelp)
	case errors.Is(err, config.ErrVersion):
		return in.answer(in.printVersion)
	}
	in.warn(cfg)
	fmt.Fprintf(in.stderr, "linesplit: %v\n", err)
	if len(in.args) > 0 && !strings.HasPrefix(in.args[0], "-") { // perhaps a misspelt command
		fmt.Fprintf(in.stderr, "the commands are %s%s\n", commandNames(), suggestCommand(in.args[0]))
	}
	fmt.Fprintln(in.stderr, "run linesplit -help for all flags")
	return exitUsage
}

// reportChecked answers -check for a valid configuration. It returns the exit code.
func (in invocation) reportChecked(cfg config.Process) int {
	in.warn(cfg)
	return in.answer(func(w io.Writer) { fmt.Fprintln(w, "the configuration is valid") })
}

func (in invocation) warn(cfg config.Process) {
	for _, warning := range cfg.Warnings {
		fmt.Fprintf(in.stderr, "linesplit: warning: %s\n", warning)
	}
}
