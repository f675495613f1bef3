package main

import (
	"linesplit/admin"
	"linesplit/linebuf"
	"linesplit/splitter"
	"linesplit/workerpool"
)

// ledgerOf sums up what the two ends of the pipeline have counted. in must be no older than out.
func ledgerOf(in splitter.Stats, out workerpool.Stats) *admin.Ledger {
	l := &admin.Ledger{
		Received:  admin.Amount(in.Received),
		Retained:  gauge(out.Retained),
		Queued:    gauge(linebuf.Count{Lines: in.Queued.Lines - out.Taken.Lines, Bytes: in.Queued.Bytes - out.Taken.Bytes}),
		Truncated: in.TruncatedLines,
	}
	for _, d := range in.Dropped {
		l.Dropped = plus(l.Dropped, d.Count)
		l.DroppedBy = append(l.DroppedBy, admin.DroppedBy{Reason: d.Reason, Amount: admin.Amount(d.Count)})
	}
	for _, t := range append(out.Targets[:len(out.Targets):len(out.Targets)], out.Removed) {
		l.Confirmed = plus(l.Confirmed, t.Confirmed)
		for _, r := range t.Resent {
			l.Resent = plus(l.Resent, r.Count)
		}
	}
	return l
}

// gauge raises to 0 what for a moment seems to be below it, since its parts are not read at one time.
func gauge(n linebuf.Count) admin.Amount {
	return admin.Amount{Lines: uint64(max(0, int64(n.Lines))), Bytes: uint64(max(0, int64(n.Bytes)))}
}

func plus(a admin.Amount, n linebuf.Count) admin.Amount {
	return admin.Amount{Lines: a.Lines + n.Lines, Bytes: a.Bytes + n.Bytes}
}
