package service

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"linesplit/admin"
	"linesplit/target"
	"linesplit/workerpool"
)

// control is a service with the reload of its process. It implements admin.Control.
type control struct {
	*service
	process *process
}

// Reload implements admin.Control.
func (c control) Reload(ctx context.Context) (changed, needRestart []string, err error) {
	return c.process.Reload(ctx)
}

// Status implements admin.Control.
func (s *service) Status() admin.Status {
	now := admin.Status{
		Mode: s.cfg.Load().Mode.String(), Version: s.shared.version, Started: s.shared.started,
		Draining: s.draining.Load(), LogDropped: s.shared.logger.dropped(),
	}
	now.Ready, now.Reason = s.ready()
	if s.failed != nil {
		return now
	}
	now.Listeners = s.in.names()
	s.mode.describe(&now)
	s.in.describe(&now.Totals)
	now.Datagrams = s.in.datagramStatus()
	now.Totals.DroppedDatagrams = s.in.droppedDatagrams()
	s.checks.describe(&now)
	s.finder.describe(&now)
	return now
}

// Connections implements admin.Control.
func (s *service) Connections(limit int) []admin.Connection {
	if s.failed != nil {
		return nil
	}
	return s.mode.connections(limit)
}

// Config implements admin.Control.
func (s *service) Config() []admin.Setting {
	cfg := s.cfg.Load()
	all := slices.Clone(cfg.Shown)
	if s.failed != nil {
		return all
	}
	targets, balance := s.mode.inForce()
	for i, setting := range all {
		now, was := "", ""
		switch setting.Name {
		case "balance":
			now, was = balance, cfg.Balance
		case "target":
			now, was = cfg.WriteTargets(s.configured(targets)), cfg.WriteTargets(cfg.Targets)
		case "group":
			now, was = cfg.WriteGroups(s.configured(targets)), cfg.WriteGroups(cfg.Targets)
		}
		if now != was {
			all[i].Value, all[i].Source = now, admin.SourceAPI
		}
	}
	return all
}

// Add implements admin.Control.
func (s *service) Add(_ context.Context, address string) error {
	return s.changeTargets(func() error {
		cfg := *s.cfg.Load()
		a, err := cfg.ParseTarget(address)
		if err != nil {
			return err
		}
		cfg.MaxConnections = 0 // it gives way to targets
		running, _ := s.mode.inForce()
		if err := s.checkDescriptors(cfg, append(running, a)); err != nil {
			return err
		}
		if err := s.mode.addTarget(a); err != nil {
			return err
		}
		s.finder.keeperOf(a).AddedByHand(a)
		return nil
	})
}

// Remove implements admin.Control.
func (s *service) Remove(_ context.Context, name string) error {
	return s.changeTargets(func() error {
		a, listed := s.addressOf(name)
		err := s.mode.removeTarget(name)
		if err == nil && listed {
			s.finder.keeperOf(a).RemovedByHand(a)
		}
		return err
	})
}

// Drain implements admin.Control.
func (s *service) Drain(_ context.Context, name string) error {
	return s.change(func() error { return s.mode.drainTarget(name) })
}

// Resume implements admin.Control.
func (s *service) Resume(_ context.Context, name string) error {
	return s.changeTargets(func() error {
		err := s.mode.resumeTarget(name)
		if a, listed := s.addressOf(name); err == nil && listed {
			s.finder.keeperOf(a).ResumedByHand(a)
		}
		return err
	})
}

// SetWeight implements admin.Control.
func (s *service) SetWeight(_ context.Context, name string, weight int) error {
	return s.change(func() error { return s.mode.setWeight(name, weight) })
}

// SetBalance implements admin.Control.
func (s *service) SetBalance(_ context.Context, rule string) error {
	return s.change(func() error { return s.mode.setBalance(rule) })
}

// changeTargets calls do, which adds or removes targets, and then updates the health checks and
// what is known of the targets' origins.
func (s *service) changeTargets(do func() error) error {
	return s.change(func() error {
		defer s.noteOriginsLocked()
		defer s.watchTargets()
		return do()
	})
}

func (s *service) watchTargets() { s.checks.watch(s.mode.targets()) }

// change calls do while nothing else changes.
func (s *service) change(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return fmt.Errorf("%w: %w", admin.ErrNotRunning, s.failed)
	case s.over.Load():
		return fmt.Errorf("%w: it has ended", admin.ErrNotRunning)
	}
	return asAdmin(do())
}

// asAdmin wraps an error in the one that the API knows for it. An error of no known kind is about
// a value that is not valid.
func asAdmin(err error) error {
	if err == nil || errors.Is(err, admin.ErrNotInMode) {
		return err
	}
	for _, known := range []struct{ is, means error }{
		{target.ErrUnknown, admin.ErrUnknown},
		{target.ErrExists, admin.ErrExists},
		{target.ErrLast, admin.ErrLast},
		{workerpool.ErrEnding, admin.ErrDraining},
	} {
		if errors.Is(err, known.is) {
			return &controlError{known.means, err}
		}
	}
	return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
}

// controlError is an error of which the API knows the kind, and which says all there is to say.
type controlError struct{ kind, err error }

func (e *controlError) Error() string { return e.err.Error() }

// Unwrap returns both, for package errors.
func (e *controlError) Unwrap() []error { return []error{e.kind, e.err} }
