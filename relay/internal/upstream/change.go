package upstream

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// Change is a set of changes that are made together. Targets that exist already are not added, and
// names that do not exist are ignored in Remove and Weights.
type Change struct {
	traffic.Tuning
	Balance string // "" keeps the present one
	Add     []*target.Target
	Remove  []string
	Within  time.Duration  // time until connections to removed targets are reset
	Weights map[string]int // by name, from 1 to 1,000,000
}

// Reconfigure makes all changes of c or, if it returns an error, none; see relay.Relay.Reconfigure.
func (s *Backends) Reconfigure(c Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLocked(&c); err != nil {
		return err
	}
	s.settings.Store(c.Tuning)
	if c.Balance != "" {
		s.setBalanceLocked(c.Balance)
	}
	for _, t := range c.Add {
		s.addLocked(t)
	}
	for _, name := range c.Remove {
		if b := s.findLocked(name); b != nil {
			s.removeLocked(b, c.Within)
		}
	}
	for name, weight := range c.Weights {
		if b := s.findLocked(name); b != nil {
			s.groupOf(b).setWeight(b, int64(weight))
		}
	}
	return nil
}

// checkLocked returns an error if c cannot be made. It takes the targets that exist already out of
// c.Add.
func (s *Backends) checkLocked(c *Change) error {
	if c.Balance != "" {
		if _, err := ParseBalance(c.Balance); err != nil {
			return err
		}
	}
	var add []*target.Target
	for _, t := range c.Add {
		switch err := s.checkAddLocked(t); err {
		case nil:
			add = append(add, t)
		case target.ErrExists:
		default:
			return fmt.Errorf("add target %s: %w", t, err)
		}
	}
	c.Add = add
	for _, g := range []*Group{s.Streams, s.Datagrams} {
		if !s.canRemoveLocked(g, c.Add, c.Remove...) {
			return fmt.Errorf("remove target %s: %w", strings.Join(c.Remove, ", "), target.ErrLast)
		}
	}
	return nil
}

// canRemoveLocked reports whether g keeps a target when some are added and others removed, and one
// that takes clients if it has such a target now. A group without targets needs none.
func (s *Backends) canRemoveLocked(g *Group, added []*target.Target, removed ...string) bool {
	var open, remain, remainOpen bool
	for _, b := range g.All() {
		open = open || !b.draining.Load()
		if !b.leaving.Load() && !slices.Contains(removed, b.Target.String()) {
			remain = true
			remainOpen = remainOpen || !b.draining.Load()
		}
	}
	for _, t := range added {
		if s.groupFor(t) == g {
			remain, remainOpen = true, true
		}
	}
	return len(g.All()) == 0 || remain && (remainOpen || !open)
}
