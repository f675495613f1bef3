package main

import (
	"linesplit/admin"
	"linesplit/relay"
	"linesplit/target"
)

func (f *forwarder) describe(s *admin.Status) {
	now := f.snapshot()
	stats := f.relay.Stats()
	s.Draining, s.Balance = f.draining.Load(), stats.Balance
	s.Totals = admin.Totals{
		Connections: uint64(now.Connections), Waiting: uint64(now.Waiting), Accepted: now.Accepted, AcceptErrors: now.AcceptErrors,
		HandshakeErrors: now.HandshakeErrors, CutOff: now.CutOff, ReceivedBytes: stats.Removed.BytesIn, SentBytes: stats.Removed.BytesOut,
		Refused: refusedBy(now.Refused),
	}
	s.Limits.MaxConnections = uint64(f.limit.Load())
	for _, t := range stats.Targets {
		s.Totals.ReceivedBytes += t.BytesIn
		s.Totals.SentBytes += t.BytesOut
		s.Targets = append(s.Targets, f.targetStatus(t))
	}
}

func (f *forwarder) targetStatus(t relay.TargetStats) admin.TargetStatus {
	s := admin.TargetStatus{
		Name: t.Name, State: t.State, Since: t.Since, LastError: t.LastError, LastErrorAt: t.LastErrorAt,
		Connections: uint64(max(0, t.Active)), DialErrors: t.DialErrors,
		Forward: &admin.TargetForward{Weight: t.Weight, Backup: t.Backup, Total: t.Total, SentBytes: t.BytesIn, ReceivedBytes: t.BytesOut},
	}
	if known := f.target(t.Name); known != nil {
		s.Forward.MaxConnections = uint64(known.Address.MaxConnections)
	}
	f.checks.describe(&s)
	return s
}

func (f *forwarder) connections(limit int) (all []admin.Connection) {
	for _, c := range f.relay.Connections(limit) {
		all = append(all, admin.Connection{ID: c.ID, Client: c.Client, Listener: c.Listener, Target: c.Target, Since: c.Since,
			ReceivedBytes: uint64(c.BytesIn), SentBytes: uint64(c.BytesOut)})
	}
	return all
}

// target returns nil for one that is not known.
func (f *forwarder) target(name string) *target.Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.targets[name]
}

func (f *forwarder) addTarget(a target.Address) error {
	t := f.newTarget(a)
	if err := f.relay.Add(t); err != nil {
		return err
	}
	f.mu.Lock()
	f.targets[t.String()] = t
	f.mu.Unlock()
	f.checker.Add(t)
	return nil
}

func (f *forwarder) newTarget(a target.Address) *target.Target {
	t := target.New(a, f.logger.Logger)
	t.SetFall(int(f.fall.Load()))
	return t
}

// removeTarget gives connections as much time as a drain of linesplit itself.
func (f *forwarder) removeTarget(name string) error {
	if err := f.relay.Remove(name, f.logger.drainTimeout()); err != nil {
		return err
	}
	f.check(name, f.checker.Remove)
	return nil
}

func (f *forwarder) check(name string, tell func(*target.Target)) {
	if t := f.target(name); t != nil {
		tell(t)
	}
}

func (f *forwarder) drainTarget(name string) error { return f.relay.Drain(name) }

func (f *forwarder) resumeTarget(name string) error {
	if err := f.relay.Resume(name); err != nil {
		return err
	}
	f.check(name, f.checker.Add)
	return nil
}

func (f *forwarder) setWeight(name string, weight int) error { return f.relay.SetWeight(name, weight) }

func (f *forwarder) setBalance(rule string) error { return f.relay.SetBalance(rule) }

func (f *forwarder) adopt(old, next config) error {
	dial, err := dialOptions(next, f.logger.Logger)
	if err != nil {
		return err
	}
	f.limit.Store(int64(maxClients(next)))
	f.fall.Store(int64(next.Health.Fall))
	f.relay.Tune(f.relayOptions(next, dial).Tuning())
	if old.Forward.Balance != next.Forward.Balance {
		if err := f.relay.SetBalance(next.Forward.Balance); err != nil {
			return err
		}
	}
	f.checker.Reconfigure(checkOptions(next, dial, &f.checks, f.logger.Logger))
	return changeTargets(f, changesBetween(old.Targets, next.Targets))
}
