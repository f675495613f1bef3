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
}

// reload changes from the configuration in force to next, as far as that is possible while running.
// If it returns an error, nothing has changed.
func (s *service) reload(next config.Config) (changed, needRestart []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.planLocked(next)
	if err != nil {
		return nil, nil, err
	}
	return c.changed, c.needRestart, s.applyLocked(c)
}

// plan is the first half of reload, and apply the second.
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

// planLocked judges a change to next. It changes nothing.
func (s *service) planLocked(next config.Config) (change, error) {
	c := change{service: s, old: *s.cfg.Load()}
	if next.Mode != c.old.Mode {
		_, c.needRestart = config.Diff(c.old, next)
		c.next = c.old
		return c, nil
	}
	targets, _ := s.mode.inForce()
	running := c.old.WithTargets(targets)
	c.changed, c.needRestart = config.Diff(running, next)
	c.next = next.Keeping(running, c.needRestart)
	if !c.next.MaxLineFits() {
		return c, fmt.Errorf("%w: -max-line must be at most a quarter of -memory, which stays at %s until a restart",
			admin.ErrInvalid, humanize.IBytes(uint64(c.next.Memory)))
	}
	if err := s.checkDescriptors(c.next, c.next.Targets); err != nil {
		return c, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	var err error
	c.dial, err = dialOptions(c.next, &s.own, s.logger)
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
