package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"linesplit/admin"
)

func spool(ctx context.Context, s *session, _ []string) error {
	return getEach(ctx, s, "/spool", writeSpool)
}

func writeSpool(w io.Writer, s admin.SpoolStatus) {
	writeTable(w, func(row func(...string)) {
		row("directory", s.Directory)
		row("size", spoolSize(s))
		row("unconfirmed", amount(s.Unconfirmed)+oldest(s))
		row("empty in", emptyIn(s))
		row("appended", amount(s.Appended))
		if s.Dropped.Lines > 0 {
			row("dropped", amount(s.Dropped)+", to make room")
		}
		if s.Orphaned.Lines > 0 {
			row("orphaned", amount(s.Orphaned)+", for groups that no longer exist")
		}
		if s.QuarantinedFrames > 0 {
			row("quarantined", fmt.Sprintf("%s in %s: not delivered, see linesplit spool export -quarantined",
				amount(s.Quarantined), plural(s.QuarantinedFrames, "damaged frame")))
		}
		row("syncs", fmt.Sprintf("%s, %s failed; %s waiting for the next", number(s.Syncs), number(s.SyncErrors), size(s.HeldBytes)))
		row("faults", fmt.Sprintf("%s, failed writes %s", number(s.Faults), number(s.WriteErrors)))
		if s.LastFault != "" {
			row("last fault", s.LastFault)
		}
	})
	if len(s.Groups) > 0 {
		fmt.Fprintln(w)
		writeSpoolGroups(w, s.Groups)
	}
}

func writeSpoolGroups(w io.Writer, all []admin.SpoolGroup) {
	type group = admin.SpoolGroup
	cell := func(of func(group) admin.Amount) func(group) string {
		return func(g group) string { return amount(of(g)) }
	}
	dropped := slices.ContainsFunc(all, func(g group) bool { return g.Dropped.Lines > 0 })
	writeColumns(w, []column[group]{
		{true, "GROUP", func(g group) string { return g.Name }},
		{true, "WAITING", cell(func(g group) admin.Amount { return g.Waiting })},
		{true, "IN FLIGHT", cell(func(g group) admin.Amount { return g.InFlight })},
		{true, "REPLAYED", cell(func(g group) admin.Amount { return g.Replayed })},
		{true, "CONFIRMED", cell(func(g group) admin.Amount { return g.Confirmed })},
		{dropped, "DROPPED", cell(func(g group) admin.Amount { return g.Dropped })},
	}, all)
}

func spoolSize(s admin.SpoolStatus) string {
	text := fmt.Sprintf("%s of %s in %s", size(s.Bytes), size(s.LimitBytes), plural(s.Segments, "file"))
	if s.UnscannedBytes > 0 {
		text += fmt.Sprintf(", %s of them not counted yet", size(s.UnscannedBytes))
	}
	if s.Full {
		text += ", full"
	}
	return text
}

// spoolOf describes the spool in one line.
func spoolOf(s admin.SpoolStatus) string {
	return spoolSize(s) + ", " + number(s.Unconfirmed.Lines) + " lines unconfirmed" + oldest(s)
}

// oldest returns the age of the oldest line in words, or nothing if there is none.
func oldest(s admin.SpoolStatus) string {
	if s.Oldest.IsZero() {
		return ""
	}
	return ", the oldest read " + since(s.Oldest) + " ago"
}

func emptyIn(s admin.SpoolStatus) string {
	switch {
	case s.Unconfirmed.Lines == 0:
		return "now"
	case s.EmptySeconds == 0:
		return "never, at the present rate"
	}
	return age(seconds(s.EmptySeconds)) + ", at the present rate"
}

// seconds returns a duration of n seconds, at most a hundred years.
func seconds(n float64) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	return time.Duration(min(n, most.Seconds()) * float64(time.Second))
}

func amount(a admin.Amount) string {
	return plural(a.Lines, "line") + ", " + size(a.Bytes)
}

// plural returns a number with its noun, as in "1,234 lines".
func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + english.PluralWord(2, noun, "")
}
