package service

import (
	"slices"

	"linesplit/admin"
	"linesplit/internal/delivery"
	"linesplit/linebuf"
	"linesplit/splitter"
	"linesplit/workerpool"
)

// ledgerOf sums up what both ends of the pipeline have counted. in must be no older than out.
func ledgerOf(in splitter.Stats, out groupStats) *admin.Ledger {
	l := &admin.Ledger{
		Received:  admin.Amount(in.Received),
		Retained:  gauge(out.Retained),
		Queued:    gauge(out.queued(in)),
		Spooled:   admin.Amount(out.spooled()),
		Replayed:  admin.Amount(out.replayed),
		Truncated: in.TruncatedLines, Altered: out.Reframed.Altered,
		FramingAdded: out.Reframed.Added, FramingRemoved: out.Reframed.Removed,
	}
	for _, d := range in.Dropped {
		l.Dropped = plus(l.Dropped, d.Count)
		l.DroppedBy = append(l.DroppedBy, admin.DroppedBy{Reason: d.Reason, Amount: admin.Amount(d.Count)})
	}
	l.Dropped = plus(l.Dropped, out.Reframed.Refused)
	l.DroppedBy = append(l.DroppedBy,
		admin.DroppedBy{Reason: delivery.ReasonEmbedded, Amount: admin.Amount(out.Reframed.Refused)})
	for _, t := range append(out.Targets[:len(out.Targets):len(out.Targets)], out.Removed) {
		l.Sent, l.Acknowledged = plus(l.Sent, t.Sent), plus(l.Acknowledged, t.Acknowledged)
		l.Confirmed, l.Rejected = plus(l.Confirmed, t.Confirmed), plus(l.Rejected, t.Rejected)
		for _, r := range t.Resent {
			l.Resent = plus(l.Resent, r.Count)
		}
	}
	return l
}

// gauge returns 0 in place of a count below it: for a moment a difference may seem negative, since
// its parts are not read at the same time.
func gauge(n linebuf.Count) admin.Amount {
	return admin.Amount{Lines: uint64(max(0, int64(n.Lines))), Bytes: uint64(max(0, int64(n.Bytes)))}
}

func plus(a admin.Amount, n linebuf.Count) admin.Amount {
	return admin.Amount{Lines: a.Lines + n.Lines, Bytes: a.Bytes + n.Bytes}
}

func (m *lineMode) describe(s *admin.Status) {
	in, out := m.stats()
	s.Ledger = ledgerOf(in, out[0])
	s.Totals = admin.Totals{
		Connections: uint64(max(0, in.Connections)), Accepted: in.Accepted, AcceptErrors: in.AcceptErrors,
		HandshakeErrors: in.HandshakeErrors, CutOff: in.CutOff, ReceivedBytes: in.Received.Bytes,
		Broken: in.Broken, IdleTimeouts: in.IdleTimeouts, LineTimeouts: in.LineTimeouts, AcceptPauses: in.Pauses,
	}
	s.Totals.Answers = m.answers()
	for _, r := range in.Refused {
		s.Totals.Refused = append(s.Totals.Refused, admin.RefusedBy{Reason: r.Reason, Count: r.N})
	}
	s.Limits = admin.Limits{
		MemoryBytes: uint64(m.buffers.InUse()), MemoryLimit: uint64(m.buffers.Bound()),
		QueueBuffers: uint64(len(m.lines)), QueueCapacity: uint64(cap(m.lines)),
		MaxConnections: uint64(m.maxSenders()), AcceptingPaused: in.Paused,
	}
	if m.spool != nil { // senders bypass the channel
		s.Limits.QueueBuffers, s.Limits.QueueCapacity = m.groupQueues()
	}
	s.Keys, s.Spool = keyStatus(out), m.spoolStatus()
	removed := out[0].Removed
	removed.Resent = slices.Clone(removed.Resent)
	for i, g := range m.groups {
		for _, t := range out[i].Targets {
			line := lineTarget(t)
			line.Group = g.name
			if out[i].Keys != nil {
				line.Lines.Lanes = &admin.TargetLanes{
					Queued: admin.Amount(t.Lanes.Queued), Full: uint64(t.Lanes.Full), FullSince: t.Lanes.FullSince,
				}
			}
			s.Targets = append(s.Targets, line)
		}
		if i > 0 {
			removed.Add(out[i].Removed.Counters)
		}
		if len(m.groups) > 1 {
			s.Groups = append(s.Groups, g.ledger(in, out[i]))
		}
	}
	if removed := lineTarget(removed); hasCounts(removed) {
		s.Removed = &removed
	}
}

func lineTarget(t workerpool.TargetStats) admin.TargetStatus {
	s := admin.TargetStatus{
		Name: t.Name, Up: t.Up, State: t.State, Since: t.Since, LastError: t.LastError, LastErrorAt: t.LastErrorAt,
		Connections: uint64(t.Connections), DialErrors: t.DialErrors, LatencySeconds: seconds(t.RoundTrip),
		Lines: &admin.TargetLines{
			Sent: admin.Amount(t.Sent), Acknowledged: admin.Amount(t.Acknowledged),
			Confirmed: admin.Amount(t.Confirmed), Rejected: admin.Amount(t.Rejected), Retained: gauge(t.Retained),
			ExactConnections: uint64(max(0, t.ExactConnections)),
			Failovers:        t.Failovers, Failbacks: t.Failbacks, Stalls: t.Stalls,
			Weight: max(1, t.Weight), Backup: t.Backup, WantedConnections: t.Wanted,
		},
	}
	for _, r := range t.Resent {
		s.Lines.Resent = plus(s.Lines.Resent, r.Count)
		s.Lines.ResentBy = append(s.Lines.ResentBy, admin.ResentBy{Cause: r.Cause, Amount: admin.Amount(r.Count)})
	}
	return s
}

// keyStatus returns the state of keys, nil if lines have none. With several groups it is that of
// the one in which most keys are on their way, and the lines that wait in all of them.
func keyStatus(out []groupStats) (s *admin.KeyStatus) {
	for _, g := range out {
		if g.Keys == nil {
			continue
		}
		if s == nil {
			s = &admin.KeyStatus{Rule: g.Keys.Rule}
		}
		s.Moving = max(s.Moving, g.Keys.Moving)
		s.Waiting = plus(s.Waiting, g.Keys.Waiting)
	}
	return s
}

// hasCounts reports whether a target in line mode has counted anything.
func hasCounts(t admin.TargetStatus) bool {
	l := t.Lines
	return t.DialErrors+l.Confirmed.Lines+l.Rejected.Lines+l.Resent.Lines+l.Failovers+l.Failbacks+l.Stalls > 0
}

func (m *lineMode) connections(limit int) (all []admin.Connection) {
	for _, c := range m.split.Connections(limit) {
		all = append(all, admin.Connection{
			ID: c.ID, Client: c.Peer, Listener: c.Listener, Since: c.Since, ReceivedBytes: c.Bytes, ReceivedLines: c.Lines,
		})
	}
	return all
}
