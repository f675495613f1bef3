package service

import (
	"fmt"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/target"
)

func (m *lineMode) targets() []*target.Target { return m.pool.Targets() }

func (m *lineMode) inForce() (targets []target.Address, balance string) {
	for _, t := range m.pool.Targets() {
		targets = append(targets, t.Address)
	}
	return targets, ""
}

func (m *lineMode) addTarget(a target.Address) error {
	defer m.tuneSplitter()
	return m.pool.Add(a)
}

func (m *lineMode) removeTarget(name string) error {
	defer m.tuneSplitter()
	return m.pool.Remove(name)
}

func (m *lineMode) drainTarget(name string) error { return m.pool.Drain(name) }

func (m *lineMode) resumeTarget(name string) error {
	defer m.tuneSplitter()
	return m.pool.Resume(name)
}

func (m *lineMode) setWeight(string, int) error {
	return fmt.Errorf("%w: weights are for connections; of lines, faster targets get more", admin.ErrNotInMode)
}

func (m *lineMode) setBalance(string) error {
	return fmt.Errorf("%w: lines go to the first worker that is free, there is no rule to choose", admin.ErrNotInMode)
}

func (m *lineMode) adopt(old, next config.Config, dial target.Options) error {
	add, remove := config.DiffTargets(old.Targets, next.Targets)
	if err := m.pool.Reconfigure(deliveryTuning(next, dial), add, remove); err != nil {
		return err
	}
	m.dial = dial
	m.cfg.Store(&next)
	m.tuneSplitter()
	return nil
}
