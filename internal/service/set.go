package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"linesplit/admin"
	"linesplit/internal/accept"
	"linesplit/internal/config"
)

// A new service may have to wait for the listeners of one that ends, which close soon after its
// drain has begun.
const (
	takeOverTime  = 3 * time.Second
	takeOverPause = 10 * time.Millisecond
)

// setChange is what a reload changes about the set of services. A service that cannot change what
// the new configuration says is replaced: another one, with the same name, begins as it ends.
type setChange struct {
	all      []*service // in the order of the new configuration
	changes  []change   // of those that were there and work
	gone     []*service // that are not in the new configuration
	added    []addition
	heritage heritage // of gone and of those that are replaced
	partial  bool     // -start-partial: new ones may fail
	kept     []error  // why services that should have been replaced go on
}

// addition is a new service, which is open unless it is late or has failed.
type addition struct {
	*service
	place   int      // in setChange.all
	old     *service // that it replaces; nil for none
	because []string // settings for which it replaces the old one
	late    bool     // it can listen only when services that end do no more
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
	if p.soft != nil && p.soft.Err() != nil || p.done {
		return nil, nil, admin.ErrDraining
	}
	inForce := *p.cfg.Load()
	if p.named {
		changed, needRestart = config.Diff(inForce, next.Config)
		inForce = next.Config.Keeping(inForce, needRestart).Within(inForce)
	}
	set, err := p.planSetLocked(ctx, next, inForce)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range set.changes {
		if len(c.replace) > 0 {
			continue
		}
		if err := c.service.apply(c); err != nil {
			set.discard()
			return nil, nil, fmt.Errorf("%w; changed before that: %s", c.service.about(err), orNothing(changed))
		}
		changed = append(changed, namesOf(c.service, c.changed)...)
	}
	for _, c := range set.changes {
		needRestart = append(needRestart, namesOf(c.service, c.needRestart)...)
	}
	changed = append(changed, p.exchangeLocked(ctx, &set)...)
	if !p.named {
		inForce = *set.all[0].cfg.Load()
	}
	p.cfg.Store(&inForce)
	return changed, needRestart, set.failures()
}

// planSetLocked judges the change to next, and opens new services. It changes nothing else.
func (p *process) planSetLocked(ctx context.Context, next config.Process, inForce config.Config) (set setChange, err error) {
	set.partial = next.StartPartial
	there := map[string]*service{}
	for _, s := range p.all() {
		if !s.left.Load() {
			there[s.name] = s
		} else if !s.over.Load() {
			set.heritage.leave(s)
		}
	}
	for _, c := range next.Services {
		s := there[c.Name]
		delete(there, c.Name)
		if err := set.planOne(s, c.Within(inForce), p.shared); err != nil {
			return set, s.about(err)
		}
	}
	for _, s := range p.all() {
		if there[s.name] == s && s.failed == nil {
			set.gone = append(set.gone, s)
			set.heritage.leave(s)
		}
	}
	return set, set.open(ctx)
}

// planOne judges what becomes of a service, nil for none, that is to have the configuration cfg.
func (set *setChange) planOne(s *service, cfg config.Config, sh *shared) error {
	if s == nil || s.failed != nil {
		set.add(addition{service: newService(cfg, sh)})
		return nil
	}
	c, err := s.plan(cfg)
	switch {
	case err != nil:
		return err
	case len(c.replace) > 0:
		set.add(addition{service: newService(c.next, sh), old: s, because: append(c.changed, c.replace...)})
		set.heritage.leave(s)
	default:
		set.all = append(set.all, s)
	}
	set.changes = append(set.changes, c)
	return nil
}

func (set *setChange) add(a addition) {
	a.place = len(set.all)
	set.added = append(set.added, a)
	set.all = append(set.all, a.service)
}

// open opens the new services that do not have to wait for others to go.
func (set *setChange) open(ctx context.Context) error {
	for _, s := range set.leaving() {
		s.yield(true)
	}
	for _, a := range set.added {
		a.register()
	}
	var opened []addition
	for _, a := range set.added {
		err := set.openOne(ctx, a)
		switch {
		case err == nil:
		case set.heritage.mayBlock(err):
			a.late = true
		case !set.partial:
			set.discard()
			return fmt.Errorf("%w: %w", admin.ErrInvalid, a.about(err))
		case a.old != nil:
			set.keep(a, err)
			continue
		default:
			a.fail(err)
		}
		opened = append(opened, a)
	}
	set.added = opened
	return nil
}

// openOne opens a new service, or leaves all sockets to others.
func (set *setChange) openOne(ctx context.Context, a addition) error {
	o := openOptions{heritage: &set.heritage}
	if a.old != nil {
		o.before = a.old.in
	}
	before := len(set.heritage.taken)
	err := a.open(ctx, o)
	if err != nil {
		set.heritage.taken = set.heritage.taken[:before]
	}
	return err
}

// keep lets a service go on as it is that should have been replaced.
func (set *setChange) keep(a addition, err error) {
	a.unregister()
	a.old.yield(false)
	set.all[a.place] = a.old
	set.kept = append(set.kept, fmt.Errorf("%w: the service goes on as it was: %w",
		a.about(errors.New("cannot change "+strings.Join(a.because, ", "))), err))
}

// leaving returns the services that end.
func (set *setChange) leaving() []*service {
	all := slices.Clone(set.gone)
	for _, a := range set.added {
		if a.old != nil {
			all = append(all, a.old)
		}
	}
	return all
}

// exchangeLocked starts the new services as others end, makes the list of all, and returns what has
// changed by that. The new ones accept from sockets that they share only when the others do no
// more: the kernel wakes one of those that wait, and that one must not be about to end.
func (p *process) exchangeLocked(ctx context.Context, set *setChange) (changed []string) {
	set.heritage.passOn()
	for _, s := range set.gone {
		s.remove(causeRemoved)
		changed = append(changed, s.name+" (removed)")
	}
	for _, a := range set.added {
		if a.old == nil {
			changed = append(changed, a.name+" (added)")
			continue
		}
		a.old.remove(causeReplaced)
		changed = append(changed, namesOf(a.service, a.because)...)
		if a.name != "" {
			changed = append(changed, a.name+" (replaced)")
		}
	}
	set.heritage.await(ctx)
	set.openLate(ctx)
	p.launchAddedLocked(set.added)
	p.listLocked(set.all)
	if len(set.added)+len(set.gone) > 0 {
		p.rebalanceLocked()
	}
	return changed
}

// openLate opens the services that listen where services did that end.
func (set *setChange) openLate(ctx context.Context) {
	deadline := time.Now().Add(takeOverTime)
	for _, a := range set.added {
		if !a.late {
			continue
		}
		err := set.openOne(ctx, a)
		for errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline) && ctx.Err() == nil {
			accept.Pause(ctx, takeOverPause)
			err = set.openOne(ctx, a)
		}
		if err != nil {
			a.fail(err)
		}
	}
	set.heritage.passOn()
	set.heritage.await(ctx)
}

// failures returns the errors of the services that could not be opened.
func (set *setChange) failures() error {
	errs := set.kept
	for _, a := range set.added {
		if a.failed != nil {
			errs = append(errs, a.about(a.failed))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return partialError{fmt.Errorf("%w: all else has changed: %w", admin.ErrInvalid, errors.Join(errs...))}
}

// discard closes the new services, and lets all others go on.
func (set *setChange) discard() {
	for _, a := range set.added {
		a.close()
	}
	for _, s := range set.leaving() {
		s.yield(false)
	}
}

// launchAddedLocked starts the new services.
func (p *process) launchAddedLocked(added []addition) {
	added = slices.DeleteFunc(slices.Clone(added), func(a addition) bool { return a.failed != nil })
	for _, a := range added {
		a.in.activate()
	}
	for _, a := range added {
		p.launchLocked(a.service)
	}
}

// listLocked makes the list of all services: those of a configuration, and those that leave. Of
// services of the same name, those that leave get another one.
func (p *process) listLocked(all []*service) {
	taken := map[string]bool{}
	var leaving []*service
	for _, s := range all {
		taken[s.name] = true
	}
	for _, s := range p.all() {
		if s.left.Load() && !s.over.Load() {
			leaving = append(leaving, s)
			taken[s.title()] = taken[s.title()] || s.shown.Load() != nil
		}
	}
	for _, s := range leaving {
		if s.shown.Load() != nil || !taken[s.name] {
			continue
		}
		n := 1
		for taken[formerName(s.name, n)] {
			n++
		}
		name := formerName(s.name, n)
		taken[name] = true
		s.shown.Store(&name)
	}
	all = append(slices.Clone(all), leaving...)
	p.services.Store(&all)
}

// formerName returns the name of a service that drains while another one has its name. No service
// of a configuration can have it.
func formerName(name string, n int) string { return fmt.Sprintf("%s~%d", name, n) }

// namesOf puts the name of a service, if it has one, before those of its settings.
func namesOf(s *service, settings []string) (all []string) {
	for _, setting := range settings {
		if s.name != "" {
			setting = s.name + "." + setting
		}
		all = append(all, setting)
	}
	return all
}

func orNothing(changed []string) string {
	if len(changed) == 0 {
		return "nothing"
	}
	return strings.Join(changed, ", ")
}
