package service

import (
	"linesplit/admin"
	"linesplit/relay"
)

func (m *connectionMode) describe(s *admin.Status) {
	now := m.relay.Stats()
	s.Balance = now.Balance
	s.Totals = admin.Totals{
		Connections: uint64(max(0, now.Active)), Waiting: uint64(max(0, now.Waiting)), Accepted: now.Accepted,
		AcceptErrors: now.AcceptErrors, HandshakeErrors: now.HandshakeErrors, CutOff: now.CutOff,
		LostDatagrams: now.LostDatagrams, DiscardedIn: now.DiscardedIn, DiscardedOut: now.DiscardedOut,
		ReceivedBytes: now.Removed.BytesIn, SentBytes: now.Removed.BytesOut,
	}
	for _, r := range now.Refused {
		s.Totals.Refused = append(s.Totals.Refused, admin.RefusedBy{Reason: r.Reason, Count: r.N})
	}
	s.Limits.MaxConnections = uint64(m.service.maxClients(*m.cfg.Load(), m.relay.Addresses()))
	for _, t := range now.Targets {
		s.Totals.ReceivedBytes += t.BytesIn
		s.Totals.SentBytes += t.BytesOut
		s.Targets = append(s.Targets, forwardTarget(t))
	}
	if r := now.Removed; r.Targets > 0 {
		s.Removed = &admin.TargetStatus{
			DialErrors: r.DialErrors,
			Forward:    &admin.TargetForward{Total: r.Total, SentBytes: r.BytesIn, ReceivedBytes: r.BytesOut},
		}
	}
}

func forwardTarget(t relay.TargetStats) admin.TargetStatus {
	return admin.TargetStatus{
		Name: t.Name, Up: t.Up, State: t.State, Since: t.Since, LastError: t.LastError, LastErrorAt: t.LastErrorAt,
		Connections: uint64(max(0, t.Active)), DialErrors: t.DialErrors, LatencySeconds: seconds(t.Latency),
		Forward: &admin.TargetForward{
			Weight: t.Weight, Backup: t.Backup, MaxConnections: uint64(t.Most),
			Total: t.Total, SentBytes: t.BytesIn, ReceivedBytes: t.BytesOut,
		},
	}
}

func (m *connectionMode) connections(limit int) (all []admin.Connection) {
	for _, c := range m.relay.Connections(limit) {
		all = append(all, admin.Connection{
			ID: c.ID, Client: c.Client, Listener: c.Listener, Target: c.Target, Since: c.Since,
			ReceivedBytes: uint64(c.BytesIn), SentBytes: uint64(c.BytesOut),
		})
	}
	return all
}
