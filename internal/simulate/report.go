package simulate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/tally"
	"linesplit/linebuf"
)

// accountTable returns a table of what was sent, what the pipeline reports, and what the targets
// read.
func (d *demo) accountTable(l Ledger, r tally.Report) string {
	var b strings.Builder
	row := func(name string, c linebuf.Count, note string) {
		line := fmt.Sprintf("  %-20s %12s %15s   %s", name, humanize.Comma(int64(c.Lines)),
			humanize.Comma(int64(c.Bytes)), note)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "\n  %-20s %12s %15s\n", "", "lines", "bytes")
	row("sent", d.sent(), "by the senders")
	row("received", l.Received, "by linesplit")
	row("confirmed", l.Confirmed, "")
	for i, t := range l.Targets {
		row(fmt.Sprintf("  by target %d", i+1), t.Confirmed, "")
	}
	row("still retained", l.Retained, "")
	row("still queued", l.Queued, "")
	row("dropped", l.Dropped, "")
	row("resent", l.Resent, "perhaps not read at first")
	row("arrived", linebuf.Count{Lines: r.Received, Bytes: r.Bytes}, "whole, at the targets")
	row("  duplicates", linebuf.Count{Lines: r.Duplicated, Bytes: r.DuplicatedBytes}, "never more than resent")
	fmt.Fprintf(&b, "  %-20s %12s\n", "torn", humanize.Comma(int64(r.Corrupt+r.Torn)))
	fmt.Fprintf(&b, "  %-20s %12s\n\n", "lost", humanize.Comma(int64(r.Lost)))
	return b.String()
}

// verdict prints one line if all is well, and returns an error otherwise.
func (d *demo) verdict(l Ledger, r tally.Report, problem error, interrupted bool) error {
	if err := errors.Join(d.faults(l, r), problem); err != nil {
		return err
	}
	when := ""
	if interrupted {
		when = "interrupted: "
	}
	d.con.Print(fmt.Sprintf("%sall %s lines arrived whole: 0 lost, 0 torn, %s duplicated.\n", when,
		humanize.Comma(int64(d.sent().Lines)), humanize.Comma(int64(r.Duplicated))))
	return nil
}

// faults returns an error that lists all faults, or nil.
func (d *demo) faults(l Ledger, r tally.Report) error {
	sent := d.sent()
	var wrong []string
	note := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	note(r.Lost > 0, "%d of %d lines lost", r.Lost, sent.Lines)
	note(r.Corrupt+r.Torn > 0, "%d torn", r.Corrupt+r.Torn)
	note(r.NeverSent > 0, "%d never sent", r.NeverSent)
	note(r.Duplicated > l.Resent.Lines, "%d duplicated, but only %d reported as resent", r.Duplicated, l.Resent.Lines)
	note(sent != l.Received, "%d lines (%d bytes) sent, but %d (%d) received", sent.Lines, sent.Bytes,
		l.Received.Lines, l.Received.Bytes)
	note(!l.balanced(), "the ledger does not add up")
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNotDelivered, strings.Join(wrong, "; "))
}

func (d *demo) sent() (all linebuf.Count) {
	for _, s := range d.senders {
		all.Add(s.sent)
	}
	return all
}

func (d *demo) sentBySender() map[uint32]uint64 {
	all := make(map[uint32]uint64)
	for i, s := range d.senders {
		all[uint32(i)] = s.sent.Lines
	}
	return all
}
