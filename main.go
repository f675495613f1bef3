// Linesplit is a lossless load balancer for line streams: it takes newline-delimited records from any number of
// connections and spreads them over many targets.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
	"linesplit/internal/systemd"
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
		case "ctl":
			return control(ctx, args[1:], stdout, stderr)
		case "healthcheck":
			return healthcheck(ctx, args[1:], stdout, stderr)
		case "send":
			return sendTool(ctx, args[1:], stdout, stderr)
		case "sink":
			return sinkTool(ctx, args[1:], stdout, stderr)
		case "proof":
			return proofTool(ctx, args[1:], stdout, stderr)
		case "completion":
			return completionTool(ctx, args[1:], stdout, stderr)
		case "man":
			return manTool(ctx, args[1:], stdout, stderr)
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
	// ready says whether work can come in and go out, and if not, why. Safe for concurrent use once open has returned.
	ready() (bool, string)
	// serve closes them. See run for the two contexts; endInput ends soft. It calls began once all that is to be opened is open, and signals
	// are heeded.
	serve(soft, hard context.Context, began, endInput func()) error
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
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP) // a log without a reader is no reason to end; ignored, it would be so for -health exec's programs too
	logger := newLogs(cfg, stdout, stderr)
	defer logger.close()
	ctx, endInput := context.WithCancel(ctx)
	defer endInput()
	soft, hard, stop := lifetimes(ctx, logger)
	defer stop()

	s, err := newService(cfg, logger)
	if err == nil {
		err = s.open(soft)
	}
	if err == nil {
		stopTelling := func() {}
		err = s.serve(soft, hard, func() { stopTelling = systemd.Notify(soft, hard, func() { s.ready() }, logger.Logger) }, endInput)
		stopTelling()
	}
	if err != nil {
		logger.Error("linesplit failed", "err", err)
		return exitFailed
	}
	return exitOK
}

// lifetimes returns the two contexts that a run ends by; see run. stop releases what stands behind them.
func lifetimes(ctx context.Context, logger *logs) (soft, hard context.Context, stop func()) {
	soft, endSoft := context.WithCancel(ctx)
	hard, endHard := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	stopped := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		defer endHard()
		var drain time.Duration
		select {
		case s := <-signals:
			drain = logger.drainTimeout()
			logger.Info("drain began", "cause", s, "drain_timeout", drain)
		case <-soft.Done():
			drain = logger.drainTimeout()
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
		signal.Stop(signals) // one more ends the process as it ends any: nothing can hold up its end for ever
	})
	return soft, hard, func() {
		signal.Stop(signals)
		close(stopped)
		watcher.Wait()
		endSoft()
	}
}

// serveAdmin serves the admin listener, if there is one, and reloads on SIGHUP, until the function that it returns is called.
func serveAdmin(ctx context.Context, c *controller, seconds prometheus.Histogram) (stop func()) {
	logger, ln := c.logger, c.in.admin
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	stop = func() { cancel(); serving.Wait() }
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	serving.Go(func() { defer signal.Stop(hangups); c.reloadOn(ctx, hangups) })
	if ln == nil {
		return stop
	}
	logger.Info("admin listening", "address", ln.Addr().String())
	cfg := c.cfg.Load()
	server := admin.New(admin.Options{
		Mode: cfg.Mode.String(), Status: c.Status, Ready: c.ready, Histogram: seconds, Control: c,
		Token: c.in.token, Profiling: cfg.Profiling, Version: buildVersion(), Logger: logger.Logger,
	})
	serving.Go(func() {
		if err := server.Serve(ctx, ln); err != nil {
			logger.Error("admin listener failed", "err", err)
		}
	})
	return stop
}
