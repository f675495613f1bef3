package service

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"linesplit/admin"
	"linesplit/internal/config"
)

// Options are what a run needs besides its configuration.
type Options struct {
	// Stdout gets the access log, Stderr the log; nil or io.Discard discards. With any other Stderr
	// Run catches SIGPIPE, so that the process outlives the reader of its log.
	Stdout, Stderr io.Writer
	Version        string           // of linesplit, for the admin API
	Hangups        <-chan os.Signal // each value reloads, one from before Run too; nil for none
	Started        func(Running)    // called once, when all listeners are open; nil for none
}

// Running is a running process as Options.Started gets it.
type Running struct {
	// Listeners are the actual addresses, as -listen takes them, in the order of the configuration,
	// with UDP listeners of connection mode last among those of their service.
	Listeners []string
	// Status returns the present state of the first service. It is cheap, safe for concurrent use,
	// and still valid after Run has returned.
	Status func() admin.Status
}

// Run works until a signal, the end of ctx, or the end of the last finite listener, then drains. At
// the end of its input the drain has no time limit until a signal comes or ctx ends. The error
// tells why it could not start or what it could not finish; Run has logged it.
func Run(ctx context.Context, cfg config.Process, o Options) error {
	if o.Stderr != nil && o.Stderr != io.Discard {
		outliveLogReaders()
	}
	logger := newLogs(cfg.Config, o.Stdout, o.Stderr)
	defer logger.close()
	p := newProcess(cfg, o.Version, logger)
	p.hangups = o.Hangups
	warnOf(logger.Logger, cfg.Warnings)
	err := p.run(ctx, o.Started)
	if err != nil {
		logger.Error("linesplit failed", "err", err)
	}
	return err
}

// outliveLogReaders keeps the process alive when the reader of its log has gone. Ignoring the
// signal would do so, too, but the programs of -health exec would inherit that.
func outliveLogReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// warnOf logs the warnings of a configuration.
func warnOf(logger *slog.Logger, warnings []string) {
	for _, warning := range warnings {
		logger.Warn("setting without effect", "reason", warning)
	}
}
