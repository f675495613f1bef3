package main

import (
	"fmt"

	"linesplit/admin"
	"linesplit/target"
	"linesplit/workerpool"
)

func (p *pipeline) describe(s *admin.Status) {
	now := p.snapshot()
	pool := p.pool.Stats()
	s.Draining = p.draining.Load()
	s.Ledger = ledgerOf(now)
	s.Totals = admin.Totals{
		Connections: uint64(now.Connections), Accepted: now.Accepted, AcceptErrors: now.AcceptErrors, HandshakeErrors: now.HandshakeErrors,
		CutOff: now.CutOff, ReceivedBytes: now.ReceivedBytes, Refused: refusedBy(now.Refused),
	}
	s.Limits = admin.Limits{
		MemoryBytes: uint64(now.MemoryBytes), MemoryLimit: uint64(now.MemoryLimit),
		QueueBuffers: uint64(now.QueueBuffers), QueueCapacity: uint64(now.QueueCapacity), MaxConnections: uint64(p.maxSenders()),
	}
	for _, t := range pool.Targets {
		s.Targets = append(s.Targets, p.targetStatus(t))
	}
}

func ledgerOf(s admin.Snapshot) *admin.Ledger {
	l := &admin.Ledger{
		Received:  admin.Amount{Lines: s.ReceivedLines, Bytes: s.ReceivedBytes},
		Retained:  amountOf(s.RetainedLines, s.RetainedBytes),
		Queued:    amountOf(s.QueuedLines, s.QueuedBytes),
		Truncated: s.TruncatedLines,
	}
	for _, d := range s.Dropped {
		l.Dropped = plus(l.Dropped, d.Lines, d.Bytes)
		l.DroppedBy = append(l.DroppedBy, admin.DroppedBy{Reason: d.Reason, Amount: admin.Amount{Lines: d.Lines, Bytes: d.Bytes}})
	}
	for _, t := range s.Targets {
		l.Confirmed = plus(l.Confirmed, t.ConfirmedLines, t.ConfirmedBytes)
		for _, r := range t.Resent {
			l.Resent = plus(l.Resent, r.Lines, r.Bytes)
		}
	}
	return l
}

// amountOf takes gauges, which for a moment may seem to be below 0.
func amountOf(lines, bytes int64) admin.Amount {
	return admin.Amount{Lines: uint64(max(0, lines)), Bytes: uint64(max(0, bytes))}
}

func plus(a admin.Amount, lines, bytes uint64) admin.Amount {
	return admin.Amount{Lines: a.Lines + lines, Bytes: a.Bytes + bytes}
}

func refusedBy(counts []admin.Count) (all []admin.RefusedBy) {
	for _, c := range counts {
		all = append(all, admin.RefusedBy{Reason: c.Label, Count: c.N})
	}
	return all
}

func (p *pipeline) targetStatus(t workerpool.TargetStats) admin.TargetStatus {
	s := admin.TargetStatus{
		Name: t.Name, State: t.State, Since: t.Since, LastError: t.LastError, LastErrorAt: t.LastErrorAt,
		Connections: uint64(t.Connections), DialErrors: t.DialErrors, LatencySeconds: t.RoundTrip.Seconds(),
		Lines: &admin.TargetLines{
			Confirmed: admin.Amount{Lines: t.Confirmed.Lines, Bytes: t.Confirmed.Bytes},
			Retained:  amountOf(int64(t.Retained.Lines), int64(t.Retained.Bytes)),
			Failovers: t.Failovers, Failbacks: t.Failbacks, Stalls: t.Stalls,
		},
	}
	for _, r := range t.Resent {
		s.Lines.Resent = plus(s.Lines.Resent, r.Lines, r.Bytes)
	}
	p.checks.describe(&s)
	return s
}

func (p *pipeline) connections(limit int) (all []admin.Connection) {
	for _, c := range p.split.Connections(limit) {
		all = append(all, admin.Connection{ID: c.ID, Client: c.Peer, Listener: c.Listener, Since: c.Since, ReceivedBytes: c.Bytes, ReceivedLines: c.Lines})
	}
	return all
}

func (p *pipeline) inForce() (targets []target.Address, balance string) {
	for _, t := range p.pool.Targets() {
		targets = append(targets, t.Address)
	}
	return targets, ""
}

func (p *pipeline) addTarget(a target.Address) error { return p.settled(p.pool.Add(a)) }

// settled passes on err, after it has drawn the consequences from which targets there are: those that stay are checked, and senders leave
// them the descriptors that they need.
func (p *pipeline) settled(err error) error {
	p.tuneSplitter()
	if p.checker != nil {
		stay := p.pool.Targets()
		p.checker.Watch(stay)
		p.checks.keep(stay)
	}
	return err
}

func (p *pipeline) removeTarget(name string) error { return p.settled(p.pool.Remove(name)) }

func (p *pipeline) drainTarget(name string) error { return p.pool.Drain(name) }

func (p *pipeline) resumeTarget(name string) error { return p.settled(p.pool.Resume(name)) }

func (p *pipeline) setWeight(string, int) error {
	return fmt.Errorf("%w: weights are for connections; of lines, who is faster gets more", admin.ErrNotInMode)
}

func (p *pipeline) setBalance(string) error {
	return fmt.Errorf("%w: lines go to whoever is free, there is no rule to choose", admin.ErrNotInMode)
}

func (p *pipeline) adopt(old, next config) error {
	dial, err := dialOptions(next, p.logger.Logger)
	if err != nil {
		return err
	}
	add, remove := changesBetween(old.Targets, next.Targets)
	if err := p.pool.Reconfigure(poolTuning(next, dial), add, remove); err != nil {
		return err
	}
	p.cfg.Store(&next)
	if p.checker != nil && old.canFollow("health", next) {
		p.checker.Reconfigure(checkOptions(next, dial, &p.checks, p.logger.Logger))
	}
	return p.settled(nil)
}
