// Linesplit is a lossless load balancer for line streams: it takes newline-delimited records from any number of
// connections and spreads them over many targets.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"linesplit/admin"
)

// Exit codes.
const (
	exitOK     = 0 // everything confirmed
	exitFailed = 1 // could not start, or not everything was confirmed
	exitUsage  = 2 // the configuration is wrong; nothing was opened
)

// gcPercent is how much garbage the heap may gather beside what lives in line mode, in percent. In steady state nothing is allocated, so
// a low value costs nothing, and the process stays close to -memory when buffers of many sizes come and go. GOGC overrides it.
const gcPercent = 30

func main() {
	os.Exit(dispatch(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// dispatch runs the subcommand that the first argument names, linesplit itself where it names none.
func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "demo":
			return demo(ctx, args[1:], stdout, stderr)
		case "healthcheck":
			return healthcheck(ctx, args[1:], stdout, stderr)
		case "send":
			return sendTool(ctx, args[1:], stdout, stderr)
		case "sink":
			return sinkTool(ctx, args[1:], stdout, stderr)
		case "proof":
			return proofTool(ctx, args[1:], stdout, stderr)
		}
	}
	cfg, err := parseConfig(args)
	if err != nil {
		return explain(err, stdout, stderr)
	}
	return run(ctx, cfg, stdout, stderr)
}

// service is one of the two modes.
type service interface {
	// open opens all listeners, or none.
	open(ctx context.Context) error
	// serve closes them. See run for the two contexts; endInput ends soft.
	serve(soft, hard context.Context, endInput func()) error
}

func newService(cfg config, logger *logs) (service, error) {
	if cfg.Mode == connectionMode {
		return newForwarder(cfg, logger)
	}
	return newPipeline(cfg, logger)
}

// run works until a signal, the end of ctx, or that of the last finite listener, drains, and returns the exit code. The first signal ends soft: no new senders,
// and those there are get notice. The drain timeout or a second signal ends hard: what is not confirmed by then is reported.
func run(ctx context.Context, cfg config, stdout, stderr io.Writer) int {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a log without a reader is no reason to end; ignored, it would be so for -health exec's programs too
	logger := newLogs(cfg, stdout, stderr)
	defer logger.close()
	ctx, endInput := context.WithCancel(ctx)
	defer endInput()
	soft, hard, stop := lifetimes(ctx, cfg.DrainTimeout, logger.Logger)
	defer stop()

	s, err := newService(cfg, logger)
	if err == nil {
		err = s.open(soft)
	}
	if err == nil {
		err = s.serve(soft, hard, endInput)
	}
	if err != nil {
		logger.Error("linesplit failed", "err", err)
		return exitFailed
	}
	return exitOK
}

// lifetimes returns the two contexts that a run ends by; see run. stop releases what stands behind them.
func lifetimes(ctx context.Context, drain time.Duration, logger *slog.Logger) (soft, hard context.Context, stop func()) {
	soft, endSoft := context.WithCancel(ctx)
	hard, endHard := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	stopped := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		defer endHard()
		select {
		case s := <-signals:
			logger.Info("drain began", "cause", s, "drain_timeout", drain)
		case <-soft.Done():
			logger.Info("drain began", "cause", "end of input", "drain_timeout", drain)
		case <-stopped:
			return
		}
		endSoft()
		select {
		case s := <-signals:
			logger.Warn("stopping at once", "cause", s)
		case <-time.After(drain):
			logger.Warn("drain timeout has passed", "drain_timeout", drain)
		case <-stopped:
		}
	})
	return soft, hard, func() {
		signal.Stop(signals)
		close(stopped)
		watcher.Wait()
		endSoft()
	}
}

// serveAdmin starts the admin listener, if one is configured, and returns what ends it.
func serveAdmin(ctx context.Context, cfg config, logger *logs, o admin.Options) (stop func(), err error) {
	if cfg.Admin == "" {
		return func() {}, nil
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Admin)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin address: %w", err)
	}
	logger.Info("admin listening", "address", ln.Addr())
	o.Version, o.Logger, o.LogDropped = buildVersion(), logger.Logger, logger.dropped
	server := admin.New(o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(ctx, ln); err != nil {
			logger.Error("admin listener failed", "err", err)
		}
	})
	return func() { cancel(); serving.Wait() }, nil
}
