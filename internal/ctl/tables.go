package ctl

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"linesplit/admin"
)

// writeTable writes rows of cells in aligned columns, with printable characters only.
func writeTable(w io.Writer, rows func(row func(cells ...string))) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(func(cells ...string) {
		for i, cell := range cells {
			cells[i] = printable(cell)
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t "))
	})
	t.Flush()
}

func writeStatus(w io.Writer, s admin.Status) {
	ready := "ready"
	switch {
	case s.Draining:
		ready = "draining"
	case !s.Ready:
		ready = "not ready: " + s.Reason
	}
	fmt.Fprintf(w, "linesplit %s, %s mode, up for %s, %s\n", printable(s.Version), printable(s.Mode),
		age(s.Now.Sub(s.Started)), printable(ready))
	writeTable(w, func(row func(...string)) {
		for _, l := range s.Listeners {
			row("listening on", l)
		}
		if s.Balance != "" {
			row("balance", s.Balance)
		}
		row("connections", fmt.Sprintf("%s open, %s accepted, %s refused",
			number(s.Totals.Connections), number(s.Totals.Accepted), number(refused(s))))
		if s.Mode == admin.ModeLine {
			row("received", rate(s.Rates.ReceivedLines, s.Rates.ReceivedBytes))
			row("sent", rate(s.Rates.SentLines, s.Rates.SentBytes))
			row("confirmed", rate(s.Rates.ConfirmedLines, s.Rates.ConfirmedBytes))
			row("queue", fmt.Sprintf("%d of %d buffers", s.Limits.QueueBuffers, s.Limits.QueueCapacity))
			row("memory", size(s.Limits.MemoryBytes)+" of "+size(s.Limits.MemoryLimit))
			return
		}
		row("from clients", size(uint64(s.Rates.ReceivedBytes))+"/s")
		row("to clients", size(uint64(s.Rates.SentBytes))+"/s")
	})
	if s.Ledger != nil {
		writeLedger(w, *s.Ledger)
	}
	if n := s.Totals.DroppedDatagrams + s.Totals.LostDatagrams; n > 0 {
		fmt.Fprintf(w, "\n%s lost, which no other count includes\n", english.Plural(int(n), "datagram", ""))
	}
}

func refused(s admin.Status) (n uint64) {
	for _, r := range s.Totals.Refused {
		n += r.Count
	}
	return n
}

func writeLedger(w io.Writer, l admin.Ledger) {
	writeTable(w, func(row func(...string)) {
		row("", "LINES", "BYTES")
		amount := func(name string, a admin.Amount) { row(name, number(a.Lines), number(a.Bytes)) }
		amount("received", l.Received)
		amount("= confirmed", l.Confirmed)
		amount("+ retained", l.Retained)
		amount("+ queued", l.Queued)
		amount("+ dropped", l.Dropped)
		for _, d := range l.DroppedBy {
			if d.Amount != (admin.Amount{}) {
				amount("    "+d.Reason, d.Amount)
			}
		}
		amount("sent", l.Sent)
		amount("acknowledged", l.Acknowledged)
		amount("resent", l.Resent)
	})
}

func writeTargets(w io.Writer, all []admin.TargetStatus) {
	writeTable(w, func(row func(...string)) {
		row("TARGET", "STATE", "FOR", "CONNECTIONS", "EXACT", "RATE", "SHARE", "SENT", "ACKED", "CONFIRMED",
			"LATENCY", "WINDOW", "WEIGHT", "LAST ERROR")
		for _, t := range all {
			sent, acked, confirmed := linesOf(t)
			row(t.Name, t.State, since(t.Since), number(t.Connections), exact(t), rate(t.Rates.Lines, t.Rates.Bytes),
				strconv.Itoa(int(100*t.Rates.Share+0.5))+"%", sent, acked, confirmed,
				latency(t), window(t), weightOf(t), lastError(t))
		}
	})
}

// linesOf returns how many lines a target was sent, has acknowledged, and has confirmed.
func linesOf(t admin.TargetStatus) (sent, acked, confirmed string) {
	if t.Lines == nil {
		return "-", "-", "-"
	}
	return number(t.Lines.Sent.Lines), number(t.Lines.Acknowledged.Lines), number(t.Lines.Confirmed.Lines)
}

// exact returns how many connections to a target the kernel tells the unread bytes of.
func exact(t admin.TargetStatus) string {
	if t.Lines == nil {
		return "-"
	}
	return number(t.Lines.ExactConnections)
}

func latency(t admin.TargetStatus) string {
	if t.LatencySeconds == 0 {
		return "-"
	}
	return humanize.SIWithDigits(t.LatencySeconds, 1, "s")
}

func window(t admin.TargetStatus) string {
	if t.Lines == nil {
		return "-"
	}
	return size(t.Lines.Retained.Bytes)
}

func weightOf(t admin.TargetStatus) string {
	switch {
	case t.Forward == nil:
		return "-"
	case t.Forward.Backup:
		return strconv.Itoa(t.Forward.Weight) + " (backup)"
	}
	return strconv.Itoa(t.Forward.Weight)
}

func lastError(t admin.TargetStatus) string {
	if t.LastError == "" {
		return ""
	}
	return t.LastError + " (" + since(t.LastErrorAt) + " ago)"
}

func writeConnections(w io.Writer, l connectionList) {
	writeTable(w, func(row func(...string)) {
		row("ID", "CLIENT", "LISTENER", "TARGET", "FOR", "LINES IN", "BYTES IN", "BYTES OUT")
		for _, c := range l.Connections {
			row(number(c.ID), c.Client, c.Listener, c.Target, since(c.Since), number(c.ReceivedLines),
				size(c.ReceivedBytes), size(c.SentBytes))
		}
	})
}

func writeConfig(w io.Writer, l settingList) {
	writeTable(w, func(row func(...string)) {
		row("SETTING", "VALUE", "FROM", "RELOADABLE")
		for _, c := range l.Settings {
			row(c.Name, c.Value, c.Source, yesNo(c.Reloadable))
		}
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printable replaces characters in texts from outside that could change the terminal or the table:
// control characters, those that change the direction of writing, and bytes that are not UTF-8.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if !strconv.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// printableJSON escapes the same characters in JSON, where they can occur in strings only.
func printableJSON(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r == '\n' || strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, "\\u%04x\\u%04x", high, low)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.Bytes()
}

func number(n uint64) string { return humanize.Comma(int64(n)) }
func size(n uint64) string   { return humanize.IBytes(n) }

func rate(lines, bytes float64) string {
	text := size(uint64(bytes+0.5)) + "/s"
	switch {
	case lines >= 10:
		text = humanize.Comma(int64(lines+0.5)) + " lines/s, " + text
	case lines > 0:
		text = fmt.Sprintf("%.1f lines/s, %s", lines, text)
	}
	return text
}

func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return age(time.Since(t))
}

// age formats a duration with its two largest units: 3d4h, 5m10s, 2s.
func age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}
