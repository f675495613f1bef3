package main

import (
	"fmt"

	"linesplit/admin"
	"linesplit/target"
	"linesplit/workerpool"
)

// describe asks the receiving side last, so that lines that move on meanwhile never seem to be more than
// were received.
func (p *pipeline) describe(s *admin.Status) {
	out := p.pool.Stats()
	in := p.split.Stats()
	s.Draining = p.draining.Load()
	s.Ledger = ledgerOf(in, out)
	s.Totals = admin.Totals{
		Connections: uint64(max(0, in.Connections)), Accepted: in.Accepted, AcceptErrors: in.AcceptErrors,
		HandshakeErrors: in.HandshakeErrors, CutOff: in.CutOff, ReceivedBytes: in.Received.Bytes, Refused: refusals(p.in.guard.Stats()),
	}
	s.Limits = admin.Limits{
		MemoryBytes: uint64(p.buffers.InUse()), MemoryLimit: uint64(p.buffers.Limit()),
		QueueBuffers: uint64(len(p.lines)), QueueCapacity: uint64(cap(p.lines)), MaxConnections: uint64(p.maxSenders()),
	}
	for _, t := range out.Targets {
		s.Targets = append(s.Targets, lineTarget(t))
	}
	if removed := lineTarget(out.Removed); hasCounts(removed) {
		s.Removed = &removed
	}
	p.checks.describe(s)
}

func lineTarget(t workerpool.TargetStats) admin.TargetStatus {
	s := admin.TargetStatus{
		Name: t.Name, Up: t.Up, State: t.State, Since: t.Since, LastError: t.LastError, LastErrorAt: t.LastErrorAt,
		Connections: uint64(t.Connections), DialErrors: t.DialErrors, LatencySeconds: t.RoundTrip.Seconds(),
		Lines: &admin.TargetLines{
			Confirmed: admin.Amount(t.Confirmed), Retained: gauge(t.Retained),
			Failovers: t.Failovers, Failbacks: t.Failbacks, Stalls: t.Stalls,
		},
	}
	for _, r := range t.Resent {
		s.Lines.Resent = plus(s.Lines.Resent, r.Count)
		s.Lines.ResentBy = append(s.Lines.ResentBy, admin.ResentBy{Cause: r.Cause, Amount: admin.Amount(r.Count)})
	}
	return s
}

// hasCounts reports whether a target in line mode has counted anything.
func hasCounts(t admin.TargetStatus) bool {
	l := t.Lines
	return t.DialErrors+l.Confirmed.Lines+l.Resent.Lines+l.Failovers+l.Failbacks+l.Stalls > 0
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
