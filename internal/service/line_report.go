package service

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/dustin/go-humanize/english"

	"linesplit/admin"
	"linesplit/linebuf"
	"linesplit/spool"
)

// report logs the account of the run. It returns an error if any line was not confirmed, except
// lines that were dropped by the rules for them: those are in the account, by reason.
func (m *lineMode) report(droppedDatagrams uint64) error {
	m.split.FlushLog()
	m.rejects.FlushLog()
	m.web.FlushLog()
	m.relp.FlushLog()
	in, out := m.stats()
	l, cutOff, lostByGroups := ledgerOf(in, out[0]), in.CutOff, m.reportGroups(in, out)
	lost := admin.Amount{Lines: l.Queued.Lines + l.Retained.Lines, Bytes: l.Queued.Bytes + l.Retained.Bytes}
	var kept spool.Stats
	if m.spool != nil {
		kept = m.spool.Stats()
		lost = plus(plus(lost, m.fan.Lost()), kept.Lost)
	}
	var lines, bytes []any
	for _, d := range l.DroppedBy {
		if d.Reason == "shutdown" {
			lost.Lines += d.Lines
			lost.Bytes += d.Bytes
		}
		if d.Lines > 0 {
			lines = append(lines, slog.Uint64(d.Reason, d.Lines))
		}
		if d.Bytes > 0 {
			bytes = append(bytes, slog.Uint64(d.Reason, d.Bytes))
		}
	}
	incomplete := lost.Bytes+lostByGroups.Bytes+l.Dropped.Bytes+l.Rejected.Bytes+droppedDatagrams > 0
	account := []any{
		"received_lines", l.Received.Lines, "confirmed_lines", l.Confirmed.Lines, "resent_lines", l.Resent.Lines,
		"unconfirmed_lines", lost.Lines, "unconfirmed_bytes", lost.Bytes, "senders_cut_off", cutOff,
		slog.Group("dropped_lines", lines...), slog.Group("dropped_bytes", bytes...), "truncated_lines", l.Truncated,
		"dropped_datagrams", droppedDatagrams,
	}
	if l.Rejected.Lines > 0 {
		account = append(account, "rejected_lines", l.Rejected.Lines)
	}
	if m.spool != nil {
		account = append(account, "spool_lines", kept.Unconfirmed.Lines, "spool_bytes", kept.Unconfirmed.Bytes,
			"spool", m.cfg.Load().Spool.Dir)
		for _, gone := range []struct {
			key string
			linebuf.Count
		}{
			{"spool_dropped_lines", kept.Dropped}, {"spool_damaged_lines", kept.Quarantined},
			{"spool_orphaned_lines", kept.Orphaned},
		} {
			if gone.Lines > 0 {
				account = append(account, gone.key, gone.Lines)
				incomplete = true
			}
		}
	}
	m.logger.Log(context.Background(), m.reportLevel(incomplete, cutOff), "drain ended", account...)
	lost.Lines += lostByGroups.Lines
	lost.Bytes += lostByGroups.Bytes
	if lost.Lines == 0 {
		return nil
	}
	return fmt.Errorf("not confirmed by any target, and perhaps lost: %s (%s); senders cut off: %d",
		english.Plural(int(lost.Lines), "line", ""), english.Plural(int(lost.Bytes), "byte", ""), cutOff)
}

// reportLevel returns the level of the account. An account with losses reaches the log at every
// -log-level.
func (m *lineMode) reportLevel(incomplete bool, cutOff uint64) slog.Level {
	switch {
	case incomplete && !m.logger.Enabled(context.Background(), slog.LevelWarn):
		return slog.LevelError
	case incomplete || cutOff > 0:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}
