package ctl

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"linesplit/admin"
)

// writeTable writes rows of cells in aligned columns, with printable characters only. Every cell
// but the last of a row belongs to a column, also an empty one: package tabwriter aligns only rows
// that have a cell there.
func writeTable(w io.Writer, rows func(row func(cells ...string))) {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	rows(func(cells ...string) {
		for i, cell := range cells {
			cells[i] = printable(cell)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	})
	t.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
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
			if s.Keys != nil {
				row("keys", keysOf(*s.Keys))
			}
			row("queue", fmt.Sprintf("%d of %d buffers", s.Limits.QueueBuffers, s.Limits.QueueCapacity))
			row("memory", size(s.Limits.MemoryBytes)+" of "+size(s.Limits.MemoryLimit))
			if s.Spool != nil {
				row("spool", spoolOf(*s.Spool))
			}
			return
		}
		row("from clients", size(uint64(s.Rates.ReceivedBytes))+"/s")
		row("to clients", size(uint64(s.Rates.SentBytes))+"/s")
	})
	if s.Ledger != nil {
		writeLedger(w, *s.Ledger)
	}
	if len(s.Groups) > 0 {
		fmt.Fprintln(w)
		writeGroups(w, s.Groups)
	}
	if n := s.Totals.DroppedDatagrams + s.Totals.LostDatagrams; n > 0 {
		fmt.Fprintf(w, "\n%s lost, which no other count includes\n", english.Plural(int(n), "datagram", ""))
	}
}

func keysOf(k admin.KeyStatus) string {
	if k.Moving == 0 {
		return k.Rule
	}
	return fmt.Sprintf("%s, %.0f%% of them moving, for which %s", k.Rule, 100*k.Moving,
		english.Plural(int(k.Waiting.Lines), "line waits", "lines wait"))
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
		if l.Replayed.Lines > 0 {
			amount("+ replayed", l.Replayed)
		}
		amount("= confirmed", l.Confirmed)
		if l.Rejected.Lines > 0 {
			amount("+ rejected", l.Rejected)
		}
		amount("+ retained", l.Retained)
		amount("+ queued", l.Queued)
		if l.Spooled.Lines > 0 {
			amount("+ spooled", l.Spooled)
		}
		amount("+ dropped", l.Dropped)
		for _, d := range l.DroppedBy {
			if d.Amount != (admin.Amount{}) {
				amount("    "+d.Reason, d.Amount)
			}
		}
		if l.FramingAdded+l.FramingRemoved > 0 {
			row("framing", "", fmt.Sprintf("+%s -%s", number(l.FramingAdded), number(l.FramingRemoved)))
		}
		if l.Altered > 0 {
			row("altered", number(l.Altered), "")
		}
		amount("sent", l.Sent)
		amount("acknowledged", l.Acknowledged)
		amount("resent", l.Resent)
	})
}

// column is one column of a table of Ts.
type column[T any] struct {
	shown bool
	head  string
	cell  func(T) string
}

// writeColumns writes a table with a row for each of all.
func writeColumns[T any](w io.Writer, columns []column[T], all []T) {
	columns = slices.DeleteFunc(columns, func(c column[T]) bool { return !c.shown })
	writeTable(w, func(row func(...string)) {
		var heads []string
		for _, c := range columns {
			heads = append(heads, c.head)
		}
		row(heads...)
		for _, one := range all {
			var cells []string
			for _, c := range columns {
				cells = append(cells, c.cell(one))
			}
			row(cells...)
		}
	})
}

// writeGroups writes the accounts of groups in lines.
func writeGroups(w io.Writer, all []admin.GroupStatus) {
	type group = admin.GroupStatus
	lines := func(of func(group) admin.Amount) func(group) string {
		return func(g group) string { return number(of(g).Lines) }
	}
	writeColumns(w, []column[group]{
		{true, "GROUP", func(g group) string { return g.Name }},
		{true, "TARGETS", func(g group) string { return strconv.Itoa(g.Targets) }},
		{true, "GIVEN", lines(func(g group) admin.Amount { return g.Given })},
		{true, "CONFIRMED", lines(func(g group) admin.Amount { return g.Confirmed })},
		{slices.ContainsFunc(all, func(g group) bool { return g.Rejected.Lines > 0 }), "REJECTED",
			lines(func(g group) admin.Amount { return g.Rejected })},
		{true, "RETAINED", lines(func(g group) admin.Amount { return g.Retained })},
		{true, "QUEUED", lines(func(g group) admin.Amount { return g.Queued })},
		{true, "DROPPED", lines(func(g group) admin.Amount { return g.Dropped })},
		{true, "RESENT", lines(func(g group) admin.Amount { return g.Resent })},
		{true, "MEMORY", memoryOf},
	}, all)
}

func memoryOf(g admin.GroupStatus) string {
	if g.Required {
		return size(g.MemoryBytes)
	}
	return size(g.MemoryBytes) + " of " + size(g.BudgetBytes)
}

// writeTargets leaves out the columns of the other mode, and that of sources if there are none.
func writeTargets(w io.Writer, all []admin.TargetStatus) {
	type target = admin.TargetStatus
	type lines = admin.TargetLines
	found := slices.ContainsFunc(all, func(t target) bool { return len(t.From) > 0 })
	line := slices.ContainsFunc(all, func(t target) bool { return t.Lines != nil })
	keyed := slices.ContainsFunc(all, func(t target) bool { return t.Lines != nil && t.Lines.Lanes != nil })
	rejected := slices.ContainsFunc(all, func(t target) bool { return t.Lines != nil && t.Lines.Rejected.Lines > 0 })
	grouped := slices.ContainsFunc(all, func(t target) bool { return t.Group != "" })
	writeColumns(w, []column[target]{
		{grouped, "GROUP", func(t target) string { return t.Group }},
		{true, "TARGET", func(t target) string { return t.Name }},
		{true, "STATE", func(t target) string { return t.State }},
		{true, "FOR", func(t target) string { return since(t.Since) }},
		{true, "CONNECTIONS", func(t target) string { return number(t.Connections) }},
		{line, "EXACT", ofLines(func(l lines) string { return number(l.ExactConnections) })},
		{true, "RATE", func(t target) string { return rate(t.Rates.Lines, t.Rates.Bytes) }},
		{true, "SHARE", func(t target) string { return strconv.Itoa(int(100*t.Rates.Share+0.5)) + "%" }},
		{line, "SENT", ofLines(func(l lines) string { return number(l.Sent.Lines) })},
		{line, "ACKED", ofLines(func(l lines) string { return number(l.Acknowledged.Lines) })},
		{line, "CONFIRMED", ofLines(func(l lines) string { return number(l.Confirmed.Lines) })},
		{rejected, "REJECTED", ofLines(func(l lines) string { return number(l.Rejected.Lines) })},
		{true, "LATENCY", latency},
		{line, "WINDOW", ofLines(func(l lines) string { return size(l.Retained.Bytes) })},
		{keyed, "QUEUED", ofLines(queuedInLanes)},
		{keyed, "FULL LANES", ofLines(fullLanes)},
		{true, "WEIGHT", weightOf},
		{found, "FROM", func(t target) string { return strings.Join(t.From, " ") }},
		{true, "LAST ERROR", lastError},
	}, all)
}

// writeSources writes nothing if there are none.
func writeSources(w io.Writer, all []admin.SourceStatus) {
	type source = admin.SourceStatus
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w)
	grouped := slices.ContainsFunc(all, func(s source) bool { return s.Group != "" })
	writeColumns(w, []column[source]{
		{grouped, "GROUP", func(s source) string { return s.Group }},
		{true, "SOURCE", func(s source) string { return s.Name }},
		{true, "STATE", sourceState},
		{true, "TARGETS", func(s source) string { return number(s.Targets) }},
		{true, "ANSWERED", func(s source) string {
			if s.LastAnswerAt.IsZero() {
				return "never"
			}
			return since(s.LastAnswerAt) + " ago"
		}},
		{true, "ANSWERS", func(s source) string { return number(s.Answers) }},
		{true, "FAILURES", func(s source) string { return number(s.Failures) }},
		{true, "LAST ERROR", func(s source) string {
			return lastError(admin.TargetStatus{LastError: s.LastError, LastErrorAt: s.LastErrorAt})
		}},
	}, all)
}

func sourceState(s admin.SourceStatus) string {
	switch {
	case s.Failing:
		return "failing"
	case s.LastAnswerAt.IsZero():
		return "not asked yet"
	}
	return "answers"
}

// ofLines returns the cell of a column that line mode alone has.
func ofLines(cell func(admin.TargetLines) string) func(admin.TargetStatus) string {
	return func(t admin.TargetStatus) string {
		if t.Lines == nil {
			return "-"
		}
		return cell(*t.Lines)
	}
}

func queuedInLanes(l admin.TargetLines) string {
	if l.Lanes == nil {
		return "-"
	}
	return number(l.Lanes.Queued.Lines)
}

// fullLanes tells how many lanes hold up senders, and for how long.
func fullLanes(l admin.TargetLines) string {
	if l.Lanes == nil || l.Lanes.Full == 0 {
		return "-"
	}
	return number(l.Lanes.Full) + " for " + since(l.Lanes.FullSince)
}

func latency(t admin.TargetStatus) string {
	if t.LatencySeconds == 0 {
		return "-"
	}
	return humanize.SIWithDigits(t.LatencySeconds, 1, "s")
}

func weightOf(t admin.TargetStatus) string {
	var weight int
	var backup bool
	switch {
	case t.Lines != nil:
		weight, backup = t.Lines.Weight, t.Lines.Backup
	case t.Forward != nil:
		weight, backup = t.Forward.Weight, t.Forward.Backup
	default:
		return "-"
	}
	if backup {
		return strconv.Itoa(weight) + " (backup)"
	}
	return strconv.Itoa(weight)
}

func lastError(t admin.TargetStatus) string {
	if t.LastError == "" {
		return ""
	}
	return t.LastError + " (" + since(t.LastErrorAt) + " ago)"
}

// writeConnections leaves out the columns of the other mode. Where no connection tells the mode,
// they would be empty.
func writeConnections(w io.Writer, l connectionList) {
	type conn = admin.Connection
	line := slices.ContainsFunc(l.Connections, func(c conn) bool { return c.ReceivedLines > 0 })
	connection := slices.ContainsFunc(l.Connections, func(c conn) bool { return c.Target != "" })
	writeColumns(w, []column[conn]{
		{true, "ID", func(c conn) string { return number(c.ID) }},
		{true, "CLIENT", func(c conn) string { return c.Client }},
		{true, "LISTENER", func(c conn) string { return c.Listener }},
		{connection, "TARGET", func(c conn) string { return c.Target }},
		{true, "FOR", func(c conn) string { return since(c.Since) }},
		{line, "LINES IN", func(c conn) string { return number(c.ReceivedLines) }},
		{true, "BYTES IN", func(c conn) string { return size(c.ReceivedBytes) }},
		{connection, "BYTES OUT", func(c conn) string { return size(c.SentBytes) }},
	}, l.Connections)
}

// writeConfig names the service of each setting, if services have names.
func writeConfig(w io.Writer, l settingList) {
	type setting = admin.Setting
	named := slices.ContainsFunc(l.Settings, func(c setting) bool { return c.Service != "" })
	writeColumns(w, []column[setting]{
		{named, "SERVICE", func(c setting) string { return orDash(c.Service) }},
		{true, "SETTING", func(c setting) string { return c.Name }},
		{true, "VALUE", func(c setting) string { return c.Value }},
		{true, "FROM", func(c setting) string { return c.Source }},
		{true, "RELOADABLE", func(c setting) string { return yesNo(c.Reloadable) }},
	}, l.Settings)
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
