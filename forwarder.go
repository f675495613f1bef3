package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
	"linesplit/health"
	"linesplit/relay"
	"linesplit/target"
)

// forwarder is connection mode, wired:
//
//	clients ─▶ listener ─┐           ┌─▶ target
//	clients ─▶ listener ─┼─▶ relay ──┼─▶ target
//	                     ┘     ▲     └─▶ target
//	                        checker
type forwarder struct {
	cfg      atomic.Pointer[config] // as at the start, but for what a reload has changed
	logger   *logs
	checks   checkCounts
	checker  *health.Checker
	connect  prometheus.Histogram
	relay    *relay.Relay
	in       *inbound
	draining atomic.Bool
}

// newForwarder opens nothing yet.
func newForwarder(cfg config, logger *logs) (*forwarder, error) {
	f := &forwarder{logger: logger, connect: admin.NewConnect()}
	f.cfg.Store(&cfg)
	dial, err := dialOptions(cfg, logger.Logger)
	if err != nil {
		return nil, err
	}
	o := f.relayOptions(cfg, dial)
	for _, a := range cfg.Targets {
		o.Targets = append(o.Targets, f.newTarget(a, cfg.Health.Fall))
	}
	f.checker = newChecker(o.Targets, cfg, dial, &f.checks, logger.Logger)
	f.relay = relay.New(o)
	return f, nil
}

// relayOptions returns what the relay is to do, without targets.
func (f *forwarder) relayOptions(cfg config, dial target.Options) relay.Options {
	o := cfg.Forward
	return relay.Options{
		Balance:                 o.Balance,
		DialOptions:             dial,
		DialBudget:              o.DialBudget,
		LingerTimeout:           o.LingerTimeout,
		IdleTimeout:             o.IdleTimeout,
		QueueTimeout:            o.QueueTimeout,
		Drain:                   cfg.DrainTimeout,
		MaxConnections:          maxClients(cfg),
		MaxConnectionsPerClient: o.MaxPerClient,
		RatePerClient:           o.RatePerClient,
		ResetOnDown:             o.ResetOnDown,
		AccessLog:               f.logger.access,
		ConnectSeconds:          f.connect,
		UDPIdleTimeout:          o.UDPIdleTimeout,
		UDPSessions:             o.UDPSessions,
		Logger:                  f.logger.Logger,
	}
}

// maxClients leaves descriptors for what else needs them: each client takes two, and a sixteenth of all may be pipes.
func maxClients(cfg config) int {
	limit := descriptorLimit()
	if cfg.MaxConnections > 0 || limit == 0 {
		return cfg.MaxConnections
	}
	return max(1, (limit-limit/16-spareDescriptors-awaited(cfg))/2)
}

func (f *forwarder) open(ctx context.Context) (err error) {
	f.in, err = openInbound(ctx, *f.cfg.Load(), f.logger.Logger)
	return err
}

// serve carries connections until soft ends, lets those there are finish, and returns when the last has, or soon after hard has ended. The
// error says how many did not finish.
func (f *forwarder) serve(soft, hard context.Context, began, _ func()) error {
	stopAdmin := serveAdmin(soft, newController(*f.cfg.Load(), f, f.in, f.ready, f.logger), f.connect)
	defer stopAdmin()
	stopMark := context.AfterFunc(soft, func() { f.draining.Store(true) })
	defer stopMark()
	f.in.announce(f.logger.Logger)
	began()

	stopChecks := runChecks(soft, f.checker)
	defer stopChecks()
	accepting, stopHandOver := f.in.handOver(soft, hard, f.logger.Logger)
	defer stopHandOver()
	errs := make([]error, len(f.in.listeners)+len(f.in.packets))
	var carrying sync.WaitGroup
	for i, ln := range f.in.listeners {
		carrying.Go(func() { errs[i] = f.relay.Serve(accepting, hard, ln) })
	}
	for i, pc := range f.in.packets {
		carrying.Go(func() { errs[len(f.in.listeners)+i] = f.relay.ServePackets(accepting, hard, pc) })
	}
	carrying.Wait()
	return errors.Join(errors.Join(errs...), f.report())
}

// report logs how the run ended and returns an error if connections had to be cut off.
func (f *forwarder) report() error {
	s := f.relay.Stats()
	level := slog.LevelInfo
	if s.CutOff > 0 {
		level = slog.LevelWarn
	}
	f.logger.Log(context.Background(), level, "drain ended", "connections", s.Accepted, "connections_cut_off", s.CutOff)
	if s.CutOff == 0 {
		return nil
	}
	return fmt.Errorf("%d connections had not ended when the drain timeout passed, and were reset", s.CutOff)
}

func (f *forwarder) ready() (bool, string) {
	if f.draining.Load() {
		return false, "draining"
	}
	for _, t := range f.relay.Stats().Targets {
		if t.State == target.StateUp || t.State == target.StateUnknown {
			return true, ""
		}
	}
	return false, "all targets are down or drained"
}
