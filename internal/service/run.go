package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/loglimit"
	"linesplit/internal/systemd"
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

// Running is a running service as Options.Started gets it.
type Running struct {
	// Listeners are the actual addresses, as -listen takes them, in the order of the configuration,
	// with UDP listeners of connection mode last.
	Listeners []string
	// Status returns the present state. It is cheap, safe for concurrent use, and still valid
	// after Run has returned.
	Status func() admin.Status
}

// service is one run: a mode and all that both modes share. It implements admin.Control. Its
// methods are safe for concurrent use once open has returned.
type service struct {
	logger  *logs
	version string
	started time.Time
	hangups <-chan os.Signal // Options.Hangups

	mode     mode
	checks   *checks
	in       *inbound
	own      ownListeners // of in
	draining atomic.Bool  // the soft end or the end of all input has come

	reread    func() (config.Config, error) // reads the configuration anew
	reloading chan struct{}                 // holds one value while a file is read or applied; see read

	reloaded     reloadLog
	reloadFailed loglimit.Limiter // of reloads by SIGHUP

	stuckReads atomic.Int32 // calls of reread that have not returned

	mu  sync.Mutex                    // held during every change
	cfg atomic.Pointer[config.Config] // in force, less what the API has changed; stored under mu
}

// Run works until a signal, the end of ctx, or the end of the last finite listener, then drains. At
// the end of its input the drain has no time limit until a signal comes or ctx ends. The error
// tells why it could not start or what it could not finish; Run has logged it.
func Run(ctx context.Context, p config.Process, o Options) error {
	cfg := p.Config
	if o.Stderr != nil && o.Stderr != io.Discard {
		outliveLogReaders()
	}
	logger := newLogs(cfg, o.Stdout, o.Stderr)
	defer logger.close()
	s := newService(cfg, o.Version, logger)
	s.reread = func() (config.Config, error) { q, err := p.Reread(); return q.Config, err }
	s.hangups = o.Hangups
	warnOf(logger.Logger, cfg.Warnings)
	err := s.run(ctx, o.Started)
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

// newService opens nothing yet.
func newService(cfg config.Config, version string, logger *logs) *service {
	s := &service{
		logger: logger, version: version, started: time.Now(),
		reloading: make(chan struct{}, 1),
		reloaded:  newReloadLog(), reloadFailed: loglimit.Limiter{Burst: reloadBurst},
	}
	s.cfg.Store(&cfg)
	return s
}

func (s *service) run(ctx context.Context, started func(Running)) error {
	soft, hard, stop := shutdownContexts(ctx, s.drainTimeout, s.logger.Logger)
	defer stop()
	if err := s.open(soft); err != nil {
		return err
	}
	return s.serve(soft, hard, started)
}

// open makes the mode and opens all listeners. It opens all of them or none.
func (s *service) open(ctx context.Context) (err error) {
	if err := s.wire(); err != nil {
		return err
	}
	s.in, err = openInbound(ctx, *s.cfg.Load(), s.mode.handshakes(), s.logger.Logger)
	if err == nil {
		s.own.set(s.in)
	}
	return err
}

// wire makes the mode and the health checks, which share the targets.
func (s *service) wire() error {
	cfg := *s.cfg.Load()
	if err := checkDescriptors(cfg, len(cfg.Targets)); err != nil {
		return err
	}
	dial, err := dialOptions(cfg, &s.own, s.logger.Logger)
	if err != nil {
		return err
	}
	s.mode = newMode(cfg, dial, s.logger)
	s.checks = newChecks(cfg, dial, s.mode.targets(), s.logger.Logger)
	return nil
}

// serve carries lines or connections until soft ends, or until the last finite listener has ended.
// Then it drains. It returns, with all listeners closed, when everything is finished or soon after
// hard has ended, and has logged the account of the run last. The error tells what was not finished.
func (s *service) serve(soft, hard context.Context, started func(Running)) error {
	err := s.carry(soft, hard, started)
	s.in.guard.FlushLog()
	s.reloaded.limit.Flush()
	s.reloadFailed.Flush()
	return errors.Join(err, s.mode.report(s.in.droppedDatagrams()))
}

// carry is serve up to the account.
//
// Consumers start first and stop last: the admin server is there until the mode has ended, and so
// are the health checks until soft ends, since after the end of the input a target may take its
// time.
func (s *service) carry(soft, hard context.Context, started func(Running)) error {
	stopNotifying := func() {}
	defer func() { stopNotifying() }()
	stopAdmin := s.serveAdmin(soft)
	defer stopAdmin()
	drains, endInput := context.WithCancel(soft)
	defer endInput()
	stopMark := context.AfterFunc(soft, func() { s.draining.Store(true) })
	defer stopMark()
	s.in.announce(s.logger.Logger)
	if started != nil {
		started(Running{Listeners: s.in.names(), Status: s.Status})
	}
	stopNotifying = systemd.Notify(soft, hard, func() { s.ready() }, s.logger.Logger)

	stopChecks := s.checks.run(soft)
	defer stopChecks()
	stopWatching := s.watchInbound()
	defer stopWatching()
	accepting, stopHandOver := s.in.handOver(soft, hard, s.logger.Logger)
	defer stopHandOver()
	stopLogging := s.logDrain(drains)
	defer stopLogging()
	return s.mode.carry(accepting, hard, s.in, func(cause error) {
		s.noteEndOfInput(soft, cause)
		endInput()
	})
}

// watchInbound logs what listeners lose, until stop is called.
func (s *service) watchInbound() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { s.in.watchDatagrams(ctx, s.logger.Logger) })
	return func() { cancel(); watching.Wait() }
}

// ready reports whether work can come in and go out, and if not, why.
func (s *service) ready() (bool, string) {
	if s.draining.Load() {
		return false, "draining"
	}
	return s.mode.ready()
}

// drainTimeout returns -drain-timeout as it is now.
func (s *service) drainTimeout() time.Duration { return s.cfg.Load().DrainTimeout }
