package service

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/target"
)

// change is what a reload changes about one service.
type change struct {
	service              *service
	old, next            config.Config
	dial                 target.Options // reaches the targets of next
	changed, needRestart []string       // names of settings
	replace              []string       // names of settings that a service in its place would have
}

// plan judges a change from the configuration in force to next. It changes nothing. If it names
// settings for which the service has to be replaced, next is the configuration of the one in its
// place; otherwise apply makes the change.
func (s *service) plan(next config.Config) (change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.planLocked(next)
}

func (s *service) apply(c change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applyLocked(c)
}

func (s *service) planLocked(next config.Config) (change, error) {
	c := change{service: s, old: *s.cfg.Load()}
	targets, _ := s.mode.inForce()
	running := c.old.WithTargets(targets)
	c.changed, c.needRestart = config.Diff(running, next)
	c.replace, c.needRestart = config.ByReplacement(c.old, next, c.needRestart)
	switch {
	case len(c.replace) > 0:
		c.next = next.Replacing(c.old, c.needRestart)
		return c, nil
	case next.Mode != c.old.Mode || s.over.Load():
		c.changed, c.next = nil, c.old
		return c, nil
	}
	c.next = next.Keeping(running, c.needRestart)
	if !c.next.MaxLineFits() {
		return c, fmt.Errorf("%w: -max-line must be at most a quarter of -memory, which stays at %s until a restart",
			admin.ErrInvalid, humanize.IBytes(uint64(c.next.Memory)))
	}
	if err := s.checkDescriptors(c.next, c.next.Targets); err != nil {
		return c, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	var err error
	c.dial, err = dialOptions(c.next, s.mayConnect, s.logger)
	return c, err
}

// applyLocked makes a change that planLocked has judged.
func (s *service) applyLocked(c change) error {
	if len(c.changed) > 0 {
		if err := s.mode.adopt(leavingToFinder(c.old, c.next), c.next, c.dial); err != nil {
			return asAdmin(err)
		}
		s.checks.reconfigure(c.next, c.dial)
		s.watchTargets()
		if err := s.in.admit(c.next.Access); err != nil { // impossible after Keeping
			return err
		}
		s.in.want(c.next.Wanted)
	}
	s.cfg.Store(&c.next)
	if err := s.reconfigureFinderLocked(c.next); err != nil {
		s.logger.Warn("targets cannot be changed as the configuration says", "err", err)
	}
	return nil
}
