package main

import (
	"linesplit/admin"
	"linesplit/workerpool"
)

// snapshot puts together what the parts have counted. The receiving side is asked last, so that lines which move on meanwhile
// never seem to be more than were received.
func (p *pipeline) snapshot() admin.Snapshot {
	out := p.pool.Stats()
	in := p.split.Stats()
	s := admin.Snapshot{
		ReceivedLines:   in.Received.Lines,
		ReceivedBytes:   in.Received.Bytes,
		TruncatedLines:  in.TruncatedLines,
		QueuedLines:     int64(in.Queued.Lines - out.Taken.Lines),
		QueuedBytes:     int64(in.Queued.Bytes - out.Taken.Bytes),
		QueueBuffers:    len(p.lines),
		QueueCapacity:   cap(p.lines),
		RetainedLines:   int64(out.Retained.Lines),
		RetainedBytes:   int64(out.Retained.Bytes),
		Connections:     in.Connections,
		Accepted:        in.Accepted,
		CutOff:          in.CutOff,
		AcceptErrors:    in.AcceptErrors,
		HandshakeErrors: in.HandshakeErrors,
		MemoryBytes:     p.buffers.InUse(),
		MemoryLimit:     p.buffers.Limit(),
		Refused:         refusals(p.in.guard.Stats()),
		Checks:          p.checks.counts(),
	}
	for _, d := range in.Dropped {
		s.Dropped = append(s.Dropped, admin.Dropped{Reason: d.Reason, Lines: d.Lines, Bytes: d.Bytes})
	}
	for _, t := range out.Targets {
		s.Targets = append(s.Targets, adminTarget(t))
	}
	if removed := adminTarget(out.Removed); anything(removed) {
		removed.Name, removed.Removed = removedTargets, true
		s.Targets = append(s.Targets, removed)
	}
	return s
}

func adminTarget(t workerpool.TargetStats) admin.Target {
	a := admin.Target{
		Name:           t.Name,
		Up:             t.Up,
		Connections:    t.Connections,
		ConfirmedLines: t.Confirmed.Lines,
		ConfirmedBytes: t.Confirmed.Bytes,
		DialErrors:     t.DialErrors,
		Failovers:      t.Failovers,
		Failbacks:      t.Failbacks,
		Stalls:         t.Stalls,
	}
	for _, r := range t.Resent {
		a.Resent = append(a.Resent, admin.Resent{Cause: r.Cause, Lines: r.Lines, Bytes: r.Bytes})
	}
	return a
}

// anything says whether a target has counted something.
func anything(t admin.Target) bool {
	n := t.ConfirmedLines + t.DialErrors + t.Failovers + t.Failbacks + t.Stalls
	for _, r := range t.Resent {
		n += r.Lines
	}
	return n > 0
}
