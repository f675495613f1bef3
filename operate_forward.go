package main

import (
	"linesplit/admin"
	"linesplit/relay"
	"linesplit/target"
)

func (f *forwarder) describe(s *admin.Status) {
	now := f.relay.Stats()
	s.Draining, s.Balance = f.draining.Load(), now.Balance
	s.Totals = admin.Totals{
		Connections: uint64(max(0, now.Active)), Waiting: uint64(max(0, now.Waiting)), Accepted: now.Accepted, AcceptErrors: now.AcceptErrors,
		HandshakeErrors: now.HandshakeErrors, CutOff: now.CutOff, ReceivedBytes: now.Removed.BytesIn, SentBytes: now.Removed.BytesOut,
		Refused: refusals(f.in.guard.Stats()),
	}
	for _, r := range now.Refused {
		s.Totals.Refused = append(s.Totals.Refused, admin.RefusedBy{Reason: r.Reason, Count: r.N})
	}
	s.Limits.MaxConnections = uint64(maxClients(*f.cfg.Load()))
	for _, t := range now.Targets {
		s.Totals.ReceivedBytes += t.BytesIn
		s.Totals.SentBytes += t.BytesOut
		s.Targets = append(s.Targets, forwardTarget(t))
	}
	if r := now.Removed; r.Targets > 0 {
		s.Removed = &admin.TargetStatus{
			DialErrors: r.DialErrors, Forward: &admin.TargetForward{Total: r.Total, SentBytes: r.BytesIn, ReceivedBytes: r.BytesOut},
		}
	}
	f.checks.describe(s)
}

func forwardTarget(t relay.TargetStats) admin.TargetStatus {
	return admin.TargetStatus{
		Name: t.Name, Up: t.Up, State: t.State, Since: t.Since, LastError: t.LastError, LastErrorAt: t.LastErrorAt,
		Connections: uint64(max(0, t.Active)), DialErrors: t.DialErrors, LatencySeconds: t.Latency.Seconds(),
		Forward: &admin.TargetForward{
			Weight: t.Weight, Backup: t.Backup, MaxConnections: uint64(t.Most), Total: t.Total, SentBytes: t.BytesIn, ReceivedBytes: t.BytesOut,
		},
	}
}

func (f *forwarder) connections(limit int) (all []admin.Connection) {
	for _, c := range f.relay.Connections(limit) {
		all = append(all, admin.Connection{ID: c.ID, Client: c.Client, Listener: c.Listener, Target: c.Target, Since: c.Since,
			ReceivedBytes: uint64(c.BytesIn), SentBytes: uint64(c.BytesOut)})
	}
	return all
}

func (f *forwarder) inForce() (targets []target.Address, balance string) {
	return f.relay.Addresses(), f.relay.Stats().Balance
}

func (f *forwarder) addTarget(a target.Address) error {
	return f.watched(f.relay.Add(f.newTarget(a, f.cfg.Load().Health.Fall)))
}

// watched passes on err, after it has seen to it that those targets are checked, and remembered, that stay.
func (f *forwarder) watched(err error) error {
	stay := f.relay.Targets()
	f.checker.Watch(stay)
	f.checks.keep(stay)
	return err
}

func (f *forwarder) newTarget(a target.Address, fall int) *target.Target {
	t := target.New(a, f.logger.Logger)
	t.SetFall(fall)
	return t
}

// removeTarget gives connections as much time as a drain of linesplit itself.
func (f *forwarder) removeTarget(name string) error {
	return f.watched(f.relay.Remove(name, f.logger.drainTimeout()))
}

func (f *forwarder) drainTarget(name string) error { return f.relay.Drain(name) }

func (f *forwarder) resumeTarget(name string) error { return f.watched(f.relay.Resume(name)) }

func (f *forwarder) setWeight(name string, weight int) error { return f.relay.SetWeight(name, weight) }

func (f *forwarder) setBalance(rule string) error { return f.relay.SetBalance(rule) }

func (f *forwarder) adopt(old, next config) error {
	dial, err := dialOptions(next, f.logger.Logger)
	if err != nil {
		return err
	}
	if err := f.relay.Reconfigure(f.changeBetween(old, next, dial)); err != nil {
		return err
	}
	f.cfg.Store(&next)
	f.checker.Reconfigure(checkOptions(next, dial, &f.checks, f.logger.Logger))
	return f.watched(nil)
}

func (f *forwarder) changeBetween(old, next config, dial target.Options) relay.Change {
	add, remove := changesBetween(old.Targets, next.Targets)
	c := relay.Change{Tuning: f.relayOptions(next, dial).Tuning(), Remove: remove, Within: next.DrainTimeout, Weights: reweighted(old.Targets, next.Targets)}
	if old.Forward.Balance != next.Forward.Balance {
		c.Balance = next.Forward.Balance
	}
	for _, a := range add {
		c.Add = append(c.Add, f.newTarget(a, next.Health.Fall))
	}
	return c
}
