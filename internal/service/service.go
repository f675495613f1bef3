package service

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/config"
	"linesplit/relay"
)

// service is one service of a process: a mode, and what both modes have. Its methods are safe for
// concurrent use once open has returned.
type service struct {
	name   string // empty for the one service of a process without named ones
	logger *slog.Logger
	access relay.AccessLog // nil for none
	shared *shared

	mode     mode
	checks   *checks
	finder   *finder
	in       *inbound
	own      ownListeners // of in
	draining atomic.Bool  // the soft end, the removal or the end of all input has come

	failed error                  // why the service could not be opened; set before others know the service
	over   atomic.Bool            // it has ended
	left   atomic.Bool            // the service was removed or replaced, and drains
	leave  chan string            // gets the cause when the service is removed or replaced
	yields atomic.Bool            // others need not leave descriptors to clients of this one; see descriptors
	shown  atomic.Pointer[string] // name of a service that has left and whose name another one has; nil: name

	mu  sync.Mutex                    // held during every change
	cfg atomic.Pointer[config.Config] // in force, less what the API has changed; stored under mu
}

// newService opens nothing yet.
func newService(cfg config.Config, sh *shared) *service {
	s := &service{name: cfg.Name, logger: sh.logger.Logger, shared: sh, leave: make(chan string, 1)}
	if s.name != "" {
		s.logger = s.logger.With("service", s.name)
	}
	s.access = sh.logger.accessLog(cfg)
	s.finder = newFinder(s, cfg)
	s.cfg.Store(&cfg)
	return s
}

// about adds the name of the service to an error, if it has one.
func (s *service) about(err error) error {
	if err == nil || s.name == "" {
		return err
	}
	return fmt.Errorf("service %s: %w", s.name, err)
}

// title returns the name by which metrics and the API know the service.
func (s *service) title() string {
	if name := s.shown.Load(); name != nil {
		return *name
	}
	return s.name
}

// open makes the mode and opens all listeners. It opens all of them or none. o has sockets that may
// be taken from services that end.
func (s *service) open(ctx context.Context, o openOptions) (err error) {
	if err := s.wire(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.mode.close()
		}
	}()
	s.in, err = openInbound(ctx, *s.cfg.Load(), s.shared, s.mode.handshakes(), s.logger, o)
	if err == nil {
		s.own.set(s.in, s.shared.admin)
		s.shared.rounds.add(s)
	}
	return err
}

// mayConnect returns an error if lines or connections to an address would come back to s.
func (s *service) mayConnect(network, address string) error {
	if err := s.own.mayConnect(network, address); err != nil {
		return err
	}
	return s.shared.rounds.mayConnect(s, network, address)
}

func (s *service) tryPorts(ctx context.Context) error {
	cfg := s.cfg.Load()
	if !cfg.ReusePort {
		return nil
	}
	return tryPorts(ctx, cfg.Listen)
}

// close undoes open for a service that has not begun to work.
func (s *service) close() {
	if s.in != nil {
		s.in.close()
	}
	if s.mode != nil {
		s.mode.close()
	}
	s.unregister()
}

// fail notes that the service could not be opened, where others go on without it.
func (s *service) fail(err error) {
	s.failed = err
	s.unregister()
	s.logger.Error("service could not be started, others are", "err", err)
}

// works reports whether the service is open and has not ended.
func (s *service) works() bool { return s.failed == nil && !s.over.Load() }

// wire makes the mode and the health checks, which share the targets.
func (s *service) wire() error {
	cfg := *s.cfg.Load()
	if err := s.checkDescriptors(cfg, cfg.Targets); err != nil {
		return err
	}
	dial, err := dialOptions(cfg, s.mayConnect, s.logger)
	if err != nil {
		return err
	}
	m, err := newMode(cfg, dial, s)
	if err != nil {
		return err
	}
	s.mode = m
	s.checks = newChecks(cfg, dial, s.mode.targets(), s.logger)
	s.noteOriginsLocked() // s is not shared yet
	return nil
}

// carry carries lines or connections until soft ends, until the service is removed, or until its
// last finite listener has ended. Then it drains. It returns, with all listeners closed, when
// everything is finished or soon after hard has ended.
//
// Consumers start first and stop last: health checks go on until soft ends, since after the end of
// the input a target may take its time.
func (s *service) carry(soft, hard context.Context) error {
	soft, hard, stop := s.contexts(soft, hard)
	defer stop()
	drains, endInput := context.WithCancel(soft)
	defer endInput()
	stopMark := context.AfterFunc(soft, func() { s.draining.Store(true) })
	defer stopMark()
	stopChecks := s.checks.run(soft)
	defer stopChecks()
	stopFinding := s.find(soft)
	defer stopFinding()
	stopNames := s.watchNames(soft)
	defer stopNames()
	stopWatching := s.watchInbound()
	defer stopWatching()
	accepting, stopHandOver := s.in.handOver(soft, hard, s.logger)
	defer stopHandOver()
	stopLogging := s.logDrain(drains)
	defer stopLogging()
	return s.mode.carry(accepting, hard, s.in, func(cause error) {
		s.noteEndOfInput(soft, cause)
		endInput()
	})
}

// contexts returns the contexts that the service ends by, when the process does. soft ends, too,
// when the service is removed or replaced, and hard when its drain timeout has passed since.
func (s *service) contexts(soft, hard context.Context) (ownSoft, ownHard context.Context, stop func()) {
	ownSoft, endSoft := context.WithCancel(soft)
	ownHard, endHard := context.WithCancel(hard)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		drain := s.waitForEnd(soft, over, endSoft)
		if drain == 0 {
			return
		}
		select {
		case <-time.After(drain):
			s.logger.Warn("drain timeout has passed", "drain_timeout", drain)
			endHard()
		case <-over:
		}
	})
	return ownSoft, ownHard, func() {
		close(over)
		watching.Wait()
		endSoft()
		endHard()
	}
}

// waitForEnd waits until the process ends or the service is removed, and returns the time that the
// service has to drain. It returns 0 if hard ends no earlier than that of the process.
func (s *service) waitForEnd(soft context.Context, over chan struct{}, endSoft func()) time.Duration {
	select {
	case cause := <-s.leave:
		drain := s.cfg.Load().DrainTimeout
		s.logger.Info("drain began", "cause", cause, "drain_timeout", drain)
		endSoft()
		return drain
	case <-soft.Done():
		if drain := s.cfg.Load().DrainTimeout; drain < s.shared.drainTimeout() {
			return drain
		}
	case <-over:
	}
	return 0
}

// Causes for which a service leaves.
const (
	causeRemoved  = "service removed"
	causeReplaced = "service replaced"
)

// remove begins the end of the service.
func (s *service) remove(cause string) {
	if s.left.Swap(true) {
		return
	}
	if s.over.Load() { // it has ended by itself, and others already have all that it had but this
		s.unregister()
		return
	}
	s.yields.Store(true)
	s.draining.Store(true)
	s.leave <- cause
}

// report logs the account of the service, after carry.
func (s *service) report() error {
	s.in.guard.FlushLog()
	err := s.mode.report(s.in.droppedDatagrams())
	s.mode.close()
	return err
}

// watchInbound logs what listeners lose, until stop is called.
func (s *service) watchInbound() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { s.in.watchDatagrams(ctx, s.logger) })
	return func() { cancel(); watching.Wait() }
}

// ready reports whether work can come in and go out, and if not, why.
func (s *service) ready() (bool, string) {
	switch {
	case s.failed != nil:
		return false, "it could not be started: " + s.failed.Error()
	case s.draining.Load():
		return false, "draining"
	}
	if reason := s.nothingFound(); reason != "" {
		return false, reason
	}
	return s.mode.ready()
}

// rebalance applies what follows from services that have come or gone.
func (s *service) rebalance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.works() {
		s.mode.rebalance()
	}
}
