package service

import (
	"linesplit/internal/config"
	"linesplit/relay"
	"linesplit/target"
)

func (m *connectionMode) targets() []*target.Target { return m.relay.Targets() }

func (m *connectionMode) inForce() (targets []target.Address, balance string) {
	return m.relay.Addresses(), m.relay.Stats().Balance
}

func (m *connectionMode) addTarget(a target.Address) error {
	return m.relay.Add(m.newTarget(a, m.cfg.Load().Health.Fall))
}

// removeTarget gives connections as much time as a drain of linesplit itself.
func (m *connectionMode) removeTarget(name string) error {
	return m.relay.Remove(name, m.cfg.Load().DrainTimeout)
}

func (m *connectionMode) drainTarget(name string) error { return m.relay.Drain(name) }

func (m *connectionMode) resumeTarget(name string) error { return m.relay.Resume(name) }

func (m *connectionMode) setWeight(name string, weight int) error {
	return m.relay.SetWeight(name, weight)
}

func (m *connectionMode) setBalance(rule string) error { return m.relay.SetBalance(rule) }

func (m *connectionMode) adopt(old, next config.Config, dial target.Options) error {
	if err := m.relay.Reconfigure(m.changeBetween(old, next, dial)); err != nil {
		return err
	}
	m.dial = dial
	m.cfg.Store(&next)
	return nil
}

func (m *connectionMode) changeBetween(old, next config.Config, dial target.Options) relay.Change {
	add, remove := config.DiffTargets(old.Targets, next.Targets)
	c := relay.Change{
		Tuning:  m.tuning(next, dial),
		Remove:  remove,
		Within:  next.DrainTimeout,
		Weights: config.DiffWeights(old.Targets, next.Targets),
	}
	if old.Balance != next.Balance {
		c.Balance = next.Balance
	}
	for _, a := range add {
		c.Add = append(c.Add, m.newTarget(a, next.Health.Fall))
	}
	return c
}
