package service

import (
	"fmt"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/target"
)

func (m *lineMode) targets() (all []*target.Target) {
	for _, g := range m.groups {
		all = append(all, g.pool.Targets()...)
	}
	return all
}

func (m *lineMode) inForce() (targets []target.Address, balance string) {
	return m.addresses(), ""
}

func (m *lineMode) addTarget(a target.Address) error {
	defer m.tuneSplitter()
	for _, g := range m.groups {
		if g.pool.Lists(a.String()) && configName(g.name) != configName(a.Group) {
			return fmt.Errorf("add target %s: %w, in the group %s", a, target.ErrExists, g.name)
		}
	}
	for _, g := range m.groups {
		if configName(g.name) == configName(a.Group) {
			return g.pool.Add(a)
		}
	}
	return fmt.Errorf("add target %s: there is no group %q", a, a.Group)
}

func (m *lineMode) removeTarget(name string) error {
	defer m.tuneSplitter()
	return m.poolOf(name).Remove(name)
}

func (m *lineMode) drainTarget(name string) error { return m.poolOf(name).Drain(name) }

func (m *lineMode) resumeTarget(name string) error {
	defer m.tuneSplitter()
	return m.poolOf(name).Resume(name)
}

// setWeight leaves as many descriptors as there are: the number of connections is about the same.
func (m *lineMode) setWeight(name string, weight int) error {
	defer m.tuneSplitter()
	return m.poolOf(name).SetWeight(name, weight)
}

func (m *lineMode) setBalance(string) error {
	return fmt.Errorf("%w: lines go to the first worker that is free, there is no rule to choose", admin.ErrNotInMode)
}

func (m *lineMode) adopt(old, next config.Config, dial target.Options) error {
	changes := m.changes(old, next, dial)
	for i, g := range m.groups {
		if err := g.pool.CanReconfigure(changes[i]); err != nil {
			return err
		}
	}
	for i, g := range m.groups {
		if err := g.pool.Reconfigure(changes[i]); err != nil {
			return err
		}
	}
	m.dial = dial
	m.cfg.Store(&next)
	m.tuneSplitter()
	return nil
}
