package service

import (
	"fmt"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/target"
	"linesplit/workerpool"
)

func (m *lineMode) targets() []*target.Target { return m.pool.Targets() }

func (m *lineMode) inForce() (targets []target.Address, balance string) {
	return m.pool.Addresses(), ""
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

// setWeight leaves as many descriptors as there are: the number of connections is about the same.
func (m *lineMode) setWeight(name string, weight int) error {
	defer m.tuneSplitter()
	return m.pool.SetWeight(name, weight)
}

func (m *lineMode) setBalance(string) error {
	return fmt.Errorf("%w: lines go to the first worker that is free, there is no rule to choose", admin.ErrNotInMode)
}

func (m *lineMode) adopt(old, next config.Config, dial target.Options) error {
	add, remove := config.DiffTargets(old.Targets, next.Targets)
	change := workerpool.Change{
		Tuning: deliveryTuning(next, dial), Add: add, Remove: remove,
		Shares: config.DiffShares(old.Targets, next.Targets),
	}
	if err := m.pool.Reconfigure(change); err != nil {
		return err
	}
	m.dial = dial
	m.cfg.Store(&next)
	m.tuneSplitter()
	return nil
}
