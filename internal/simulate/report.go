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
	var t accountText
	t.row("sent", d.sent(), "by the senders")
	t.row("received", l.Received, "by linesplit")
	t.row("confirmed", l.Confirmed, "")
	for i, target := range l.Targets {
		t.row(fmt.Sprintf("  by target %d", i+1), target.Confirmed, "")
	}
	t.row("still retained", l.Retained, "")
	t.row("still queued", l.Queued, "")
	t.row("dropped", l.Dropped, "")
	t.row("resent", l.Resent, "perhaps not read at first")
	t.row("arrived", linebuf.Count{Lines: r.Received, Bytes: r.Bytes}, "whole, at the targets")
	t.row("  duplicates", linebuf.Count{Lines: r.Duplicated, Bytes: r.DuplicatedBytes}, "never more than resent")
	t.lines("torn", r.Corrupt+r.Torn, "")
	t.lines("lost", r.Lost, "")
	return t.String()
}

// accountText is a table with a row for each part of an account.
type accountText struct{ rows strings.Builder }

// row adds a row in lines and bytes.
func (t *accountText) row(name string, c linebuf.Count, note string) {
	t.add(name, humanize.Comma(int64(c.Lines)), humanize.Comma(int64(c.Bytes)), note)
}

// lines adds a row in lines only.
func (t *accountText) lines(name string, n uint64, note string) {
	t.add(name, humanize.Comma(int64(n)), "", note)
}

func (t *accountText) add(name, lines, bytes, note string) {
	row := fmt.Sprintf("  %-20s %12s %15s   %s", name, lines, bytes, note)
	t.rows.WriteString(strings.TrimRight(row, " ") + "\n")
}

// String returns the table between blank lines.
func (t *accountText) String() string {
	return fmt.Sprintf("\n  %-20s %12s %15s\n", "", "lines", "bytes") + t.rows.String() + "\n"
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
	var wrong faultList
	wrong.note(r.Lost > 0, "%d of %d lines lost", r.Lost, sent.Lines)
	wrong.note(r.Corrupt+r.Torn > 0, "%d torn", r.Corrupt+r.Torn)
	wrong.note(r.NeverSent > 0, "%d never sent", r.NeverSent)
	wrong.note(r.Duplicated > l.Resent.Lines, "%d duplicated, but only %d reported as resent", r.Duplicated, l.Resent.Lines)
	wrong.note(sent != l.Received, "%d lines (%d bytes) sent, but %d (%d) received", sent.Lines, sent.Bytes,
		l.Received.Lines, l.Received.Bytes)
	wrong.note(!l.balanced(), "the ledger does not add up")
	return wrong.err()
}

// faultList lists the faults of an account.
type faultList []string

// note adds a fault if bad is true.
func (l *faultList) note(bad bool, format string, args ...any) {
	if bad {
		*l = append(*l, fmt.Sprintf(format, args...))
	}
}

// err returns an error that wraps ErrNotDelivered, or nil.
func (l faultList) err() error {
	if len(l) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNotDelivered, strings.Join(l, "; "))
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
