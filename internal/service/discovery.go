package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/discovery"
	"linesplit/target"
	"linesplit/workerpool"
)

// finder finds targets by asking sources. Sources answer in goroutines of their own, and each
// answer becomes a change under service.mu, like one that is made by hand.
//
// A keeper decides about the targets of one group, so that what a source does to its group never
// reaches another one.
type finder struct {
	driver  *discovery.Driver
	keepers map[string]*discovery.Keeper // by target.Address.Group; each is guarded by service.mu
	origins atomic.Pointer[origins]
}

// origins tell where targets come from, for Status, which does not wait for service.mu.
type origins struct {
	targets []target.Address // that are in force

	of     map[string][]string // by the target's name
	listed map[string]uint64   // by the source's
	group  map[string]string   // by the source's; nil where there is one group only
}

// The origins of targets that no source lists.
const (
	fromConfiguration = "configuration"
	fromHand          = "by hand"
)

// newFinder asks nothing yet.
func newFinder(s *service, cfg config.Config) *finder {
	f := &finder{keepers: map[string]*discovery.Keeper{}}
	f.driver = discovery.NewDriver(discovery.Options{Report: s.found, Logger: s.logger})
	f.driver.Set(cfg.Sources, cfg.Resolver)
	for _, group := range groupNames(cfg) {
		f.keepers[group] = discovery.NewKeeper()
		f.configure(group, cfg, nil)
	}
	f.origins.Store(&origins{})
	return f
}

// groupNames returns the groups of a configuration as target.Address.Group has them. While
// linesplit runs they are always the same.
func groupNames(cfg config.Config) []string {
	names := []string{""}
	for _, g := range cfg.Groups {
		names = append(names, g.Name)
	}
	return names
}

// configure gives a group's keeper what a configuration says of the group.
func (f *finder) configure(group string, cfg config.Config, running []discovery.Running) discovery.Change {
	name := configName(group)
	return f.keepers[group].Configure(cfg.Discovery, config.InGroup(cfg.Targets, name), cfg.SourceNames(name), running)
}

// keeperOf returns the keeper of a target's group.
func (f *finder) keeperOf(a target.Address) *discovery.Keeper { return f.keepers[a.Group] }

// find asks the sources until stop is called, also after soft has ended: the last lines may need a
// target that takes the place of another.
func (s *service) find(soft context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(soft))
	var finding sync.WaitGroup
	finding.Go(func() { s.finder.driver.Run(ctx) })
	return func() { cancel(); finding.Wait() }
}

// found takes an answer of a source, whose next answer is due after the time next. The error says
// what is wrong with the answer.
func (s *service) found(source string, a discovery.Answer, next time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg := *s.cfg.Load()
	if err := cfg.Discovery.ErrEmpty(a.Targets); err != nil {
		return err
	}
	i := slices.IndexFunc(cfg.Sources, func(spec discovery.Spec) bool { return spec.String() == source })
	if i < 0 { // it was removed from the configuration meanwhile
		return nil
	}
	group := cfg.Sources[i].Group()
	listed := len(a.Targets)
	targets, unusable := s.usable(cfg, group, a.Targets)
	if len(targets) == 0 && listed > 0 {
		return unusable
	}
	a.Targets = targets
	change := s.finder.keepers[group].Answer(source, a, time.Now(), next, s.running(group))
	if change.Waiting > 0 {
		unusable = errors.Join(unusable, fmt.Errorf("%d of its targets are left out until others have gone: "+
			"one source may have %d, with those that it no longer lists", change.Waiting, discovery.MaxListed))
	}
	return errors.Join(unusable, s.applyFoundLocked(change, slog.String("source", source)))
}

// usable returns the targets that can be added to a group, and why others cannot.
func (s *service) usable(cfg config.Config, group string, targets []target.Address) ([]target.Address, error) {
	var unusable error
	check, taken := cfg.TargetChecker(), s.takenBeside(cfg, group)
	return slices.DeleteFunc(slices.Clone(targets), func(a target.Address) bool {
		err := check(a)
		if other, isTaken := taken[a.Key()]; err == nil && isTaken {
			err = fmt.Errorf("it is in the group %s, and no two groups have the same target", configName(other))
		}
		if err != nil {
			unusable = fmt.Errorf("target %s: %w", a, err)
		}
		return err != nil
	}), unusable
}

// takenBeside returns the groups of all targets, by their keys, that are in other groups than the
// given one.
func (s *service) takenBeside(cfg config.Config, group string) map[string]string {
	taken := map[string]string{}
	if len(cfg.Groups) == 0 {
		return taken
	}
	running, _ := s.mode.inForce()
	for _, a := range slices.Concat(cfg.Targets, running) {
		if a.Group != group {
			taken[a.Key()] = a.Group
		}
	}
	return taken
}

// running returns the targets of a group that are not being removed.
func (s *service) running(group string) (all []discovery.Running) {
	down := make(map[string]bool)
	for _, t := range s.mode.targets() {
		down[t.String()] = t.Status().State == target.StateDown
	}
	addresses, _ := s.mode.inForce()
	for _, a := range addresses {
		if isDown, there := down[a.String()]; there && a.Group == group {
			all = append(all, discovery.Running{Address: a, Down: isDown})
		}
	}
	return all
}

// applyFoundLocked makes a change of targets. What it cannot do comes again with the next answer.
func (s *service) applyFoundLocked(c discovery.Change, cause slog.Attr) error {
	defer s.noteOriginsLocked()
	if c.Empty() {
		return nil
	}
	defer s.watchTargets()
	var errs []error
	try := func(err error) {
		// The mode keeps a last target, and one that has gone by itself needs nothing.
		if err != nil && !errors.Is(err, target.ErrLast) && !errors.Is(err, target.ErrUnknown) &&
			!errors.Is(err, workerpool.ErrEnding) && !errors.Is(err, admin.ErrNotInMode) {
			errs = append(errs, err)
		}
	}
	for _, a := range c.Add {
		try(s.addFoundLocked(a))
	}
	for _, name := range c.Remove {
		try(s.mode.removeTarget(name))
	}
	for _, name := range c.Drain {
		try(s.mode.drainTarget(name))
	}
	for _, name := range c.Resume {
		try(s.mode.resumeTarget(name))
	}
	for name, weight := range c.Weights {
		try(s.mode.setWeight(name, weight))
	}
	s.logger.Info("targets changed", cause, "added", len(c.Add)+len(c.Resume), "removed", len(c.Remove)+len(c.Drain))
	return errors.Join(errs...)
}

func (s *service) addFoundLocked(a target.Address) error {
	cfg := *s.cfg.Load()
	cfg.MaxConnections = 0 // it gives way to targets
	running, _ := s.mode.inForce()
	if err := s.checkDescriptors(cfg, append(running, a)); err != nil {
		return fmt.Errorf("target %s: %w", a, err)
	}
	return s.mode.addTarget(a)
}

// reconfigureFinderLocked takes the sources and the targets of a new configuration.
func (s *service) reconfigureFinderLocked(next config.Config) error {
	var errs []error
	for _, group := range groupNames(next) {
		change := s.finder.configure(group, next, s.running(group))
		errs = append(errs, s.applyFoundLocked(change, slog.String("cause", "reload")))
	}
	s.finder.driver.Set(next.Sources, next.Resolver)
	return errors.Join(errs...)
}

// leavingToFinder returns old without the targets that next does not have, as far as their groups
// have sources: the finder removes them when the sources have answered, since one may list them
// too, and until then they may be the only ones.
func leavingToFinder(old, next config.Config) config.Config {
	hasSources := map[string]bool{}
	for _, spec := range slices.Concat(old.Sources, next.Sources) {
		hasSources[spec.Group()] = true
	}
	old.Targets = slices.DeleteFunc(slices.Clone(old.Targets), func(a target.Address) bool {
		return hasSources[a.Group] && !slices.ContainsFunc(next.Targets, func(b target.Address) bool { return a.String() == b.String() })
	})
	return old
}

// addressOf returns the address of a target.
func (s *service) addressOf(name string) (target.Address, bool) {
	targets, _ := s.mode.inForce()
	i := slices.IndexFunc(targets, func(a target.Address) bool { return a.String() == name })
	if i < 0 {
		return target.Address{}, false
	}
	return targets[i], true
}

// noteOriginsLocked updates what Status says about sources.
func (s *service) noteOriginsLocked() {
	o := &origins{of: make(map[string][]string), listed: make(map[string]uint64)}
	targets, _ := s.mode.inForce()
	o.targets = targets
	for _, a := range targets {
		from := s.finder.keeperOf(a).Origin(a)
		all := slices.Clone(from.Sources)
		if from.ByHand {
			all = append([]string{fromHand}, all...)
		}
		if from.Configured {
			all = append([]string{fromConfiguration}, all...)
		}
		o.of[a.String()] = all
	}
	cfg := s.cfg.Load()
	if len(cfg.Groups) > 0 {
		o.group = make(map[string]string)
	}
	for _, spec := range cfg.Sources {
		name := spec.String()
		o.listed[name] = uint64(s.finder.keepers[spec.Group()].Listed(name))
		if o.group != nil {
			o.group[name] = configName(spec.Group())
		}
	}
	s.finder.origins.Store(o)
}

// describe fills in the sources, and where targets come from.
func (f *finder) describe(s *admin.Status) {
	o := f.origins.Load()
	for _, st := range f.driver.Status() {
		s.Sources = append(s.Sources, admin.SourceStatus{
			Name: st.Source, Group: o.group[st.Source], Failing: st.Failing, Targets: o.listed[st.Source], Answers: st.Answers, Failures: st.Failures,
			LastAnswerAt: st.LastAnswer, LastError: st.LastError, LastErrorAt: st.LastErrorAt,
		})
	}
	if len(s.Sources) == 0 {
		return
	}
	for i := range s.Targets {
		s.Targets[i].From = o.of[s.Targets[i].Name]
	}
}

// nothingFound returns why there is no target yet, in a group that senders wait for, or an empty
// text if there is one in each.
func (s *service) nothingFound() string {
	cfg := s.cfg.Load()
	there := map[string]bool{}
	targets, _ := s.mode.inForce()
	for _, a := range targets {
		there[a.Group] = true
	}
	if !there[""] {
		return s.notFound("no target has been found yet", cfg.SourceNames(config.MainGroup))
	}
	for _, g := range cfg.Groups {
		if g.Required && !there[g.Name] {
			return s.notFound("no target of group "+g.Name+" has been found yet", cfg.SourceNames(g.Name))
		}
	}
	return ""
}

// notFound names sources, and the error of the first that has one.
func (s *service) notFound(what string, sources []string) string {
	reason := []string{what}
	for _, st := range s.finder.driver.Status() {
		if !slices.Contains(sources, st.Source) {
			continue
		}
		reason = append(reason, st.Source)
		if st.LastError != "" {
			reason = append(reason, st.LastError)
			break
		}
	}
	return strings.Join(reason, ": ")
}

// configured returns the targets that do not come from sources alone.
func (s *service) configured(targets []target.Address) (all []target.Address) {
	o := s.finder.origins.Load()
	for _, a := range targets {
		from := o.of[a.String()]
		if len(from) == 0 || from[0] == fromConfiguration || from[0] == fromHand {
			all = append(all, a)
		}
	}
	return all
}
