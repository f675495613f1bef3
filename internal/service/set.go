package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"linesplit/admin"
	"linesplit/internal/accept"
	"linesplit/internal/config"
)

// A new service may listen where a removed one did: its listeners close soon after its drain has
// begun.
const (
	takeOverTime  = 3 * time.Second
	takeOverPause = 10 * time.Millisecond
)

// setChange is what a reload changes about the set of services.
type setChange struct {
	all     []*service // in the order of the new configuration
	changes []change   // of those that were there and work
	gone    []*service // that are not in the new configuration
	added   []*service // new ones, open unless they are late or have failed
	late    []*service // of added: they listen where services do that are gone
	partial bool       // -start-partial: new ones may fail
}

// partialError is an error of a reload that has changed everything else.
type partialError struct{ error }

// Unwrap returns the cause, for package errors.
func (e partialError) Unwrap() error { return e.error }

func isPartial(err error) bool {
	_, partial := errors.AsType[partialError](err)
	return partial
}

// reloadSetLocked changes from the services in force to those of next. Services that are the same
// in both are not touched. If it returns an error, nothing has changed, unless the error says so.
func (p *process) reloadSetLocked(ctx context.Context, next config.Process) (changed, needRestart []string, err error) {
	if p.soft.Err() != nil || p.done {
		return nil, nil, admin.ErrDraining
	}
	changed, needRestart = config.Diff(*p.cfg.Load(), next.Config)
	inForce := next.Config.Keeping(*p.cfg.Load(), needRestart).Within(*p.cfg.Load())
	set, err := p.planSetLocked(ctx, next, inForce)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range set.changes {
		if err := c.service.apply(c); err != nil {
			set.discard()
			return nil, nil, fmt.Errorf("%w; changed before that: %s", c.service.about(err), orNothing(changed))
		}
		changed = append(changed, namesOf(c.service, c.changed)...)
		needRestart = append(needRestart, namesOf(c.service, c.needRestart)...)
	}
	p.cfg.Store(&inForce)
	for _, s := range set.gone {
		s.remove()
		changed = append(changed, s.name+" (removed)")
	}
	for _, s := range set.added {
		changed = append(changed, s.name+" (added)")
	}
	set.openLate(ctx)
	p.launchAddedLocked(set)
	return changed, needRestart, set.failures()
}

// planSetLocked judges the change to next, and opens new services. It changes nothing else.
func (p *process) planSetLocked(ctx context.Context, next config.Process, inForce config.Config) (set setChange, err error) {
	set.partial = next.StartPartial
	there := map[string]*service{}
	for _, s := range p.all() {
		there[s.name] = s
	}
	for _, c := range next.Services {
		s := there[c.Name]
		delete(there, c.Name)
		switch {
		case s == nil || s.failed != nil:
			s = newService(c.Within(inForce), p.shared)
			set.added = append(set.added, s)
		case s.left.Load():
			return set, fmt.Errorf("%w: service %s was removed and still drains: reload again when it has ended",
				admin.ErrInvalid, c.Name)
		case !s.over.Load():
			change, err := s.plan(c.Within(inForce))
			if err != nil {
				return set, s.about(err)
			}
			set.changes = append(set.changes, change)
		}
		set.all = append(set.all, s)
	}
	for _, s := range p.all() {
		if there[s.name] == s && !s.left.Load() && s.failed == nil {
			set.gone = append(set.gone, s)
		}
	}
	return set, set.open(ctx)
}

// open opens the new services that do not have to wait for others to go.
func (set *setChange) open(ctx context.Context) error {
	for _, s := range set.added {
		s.register()
	}
	for _, s := range set.added {
		err := s.open(ctx)
		switch {
		case err == nil:
		case errors.Is(err, syscall.EADDRINUSE) && len(set.gone) > 0:
			set.late = append(set.late, s)
		case set.partial:
			s.fail(err)
		default:
			set.discard()
			return fmt.Errorf("%w: %w", admin.ErrInvalid, s.about(err))
		}
	}
	return nil
}

// openLate opens the services that listen where services did that are gone.
func (set *setChange) openLate(ctx context.Context) {
	deadline := time.Now().Add(takeOverTime)
	for _, s := range set.late {
		err := s.open(ctx)
		for errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline) && ctx.Err() == nil {
			accept.Pause(ctx, takeOverPause)
			err = s.open(ctx)
		}
		if err != nil {
			s.fail(err)
		}
	}
}

// failures returns the errors of the new services that could not be opened.
func (set *setChange) failures() error {
	var errs []error
	for _, s := range set.added {
		if s.failed != nil {
			errs = append(errs, s.about(s.failed))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return partialError{fmt.Errorf("%w: all else has changed: %w", admin.ErrInvalid, errors.Join(errs...))}
}

// discard closes the new services.
func (set *setChange) discard() {
	for _, s := range set.added {
		s.close()
	}
}

// launchAddedLocked starts the new services, and makes the list of all.
func (p *process) launchAddedLocked(set setChange) {
	all := set.all
	for _, s := range p.all() {
		if s.left.Load() {
			all = append(all, s)
		}
	}
	p.services.Store(&all)
	for _, s := range set.added {
		if s.failed == nil {
			p.launchLocked(s)
		}
	}
	if len(set.added)+len(set.gone) > 0 {
		p.rebalanceLocked()
	}
}

// namesOf puts the name of a service before those of its settings.
func namesOf(s *service, settings []string) (all []string) {
	for _, setting := range settings {
		all = append(all, s.name+"."+setting)
	}
	return all
}

func orNothing(changed []string) string {
	if len(changed) == 0 {
		return "nothing"
	}
	return strings.Join(changed, ", ")
}
