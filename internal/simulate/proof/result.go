package proof

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Verdict is the outcome of a scenario in one word.
type Verdict string

const (
	OK        Verdict = "ok"        // every line that was sent was read, whole, except those of Result.Excused
	Lost      Verdict = "lost"      // lines are missing
	Corrupt   Verdict = "corrupt"   // no line is missing, but some arrived torn, glued, altered or were never sent
	Failed    Verdict = "failed"    // all lines arrived, but the proxy broke another rule; see Note
	Unproven  Verdict = "unproven"  // the fault could not be staged as intended; see Note
	Skipped   Verdict = "skipped"   // cannot be staged on this machine; see Note
	Cancelled Verdict = "cancelled" // the context ended before the scenario
)

// Result is the outcome of one scenario.
type Result struct {
	Scenario     string  `json:"scenario"`
	Verdict      Verdict `json:"verdict"`
	Sent         uint64  `json:"sent_lines"`          // whole lines that senders' kernels have accepted
	ReceivedOnce uint64  `json:"received_once_lines"` // different lines that the targets' applications have read
	Lost         uint64  `json:"lost_lines"`
	Duplicated   uint64  `json:"duplicated_lines"` // further copies ("again"); no fault with at-least-once delivery
	Corrupt      uint64  `json:"corrupt_lines"`    // torn, glued, altered, or never sent
	// Excused counts those of the lost lines that break no promise: linesplit was killed before it
	// had read them or, without a spool, while it held them. Note has the number of each.
	Excused uint64 `json:"excused_lines,omitempty"`
	// Recovery is the longest time that it took until lines had been read, of all lines sent
	// before a fault or within a second after it. It counts from the time when a line was sent,
	// but not from before the fault; if nothing can arrive during the fault, not from before the
	// end of the fault. Null: some lines were never read, or the scenario does not measure it.
	Recovery   *float64 `json:"recovery_seconds"`
	PeakMemory *int64   `json:"peak_memory_bytes"` // resident memory of the proxy and its children; null: not known
	Seconds    float64  `json:"seconds"`           // duration of the scenario
	Staged     string   `json:"staged"`            // in words, such as "crashes: 4, with 1.2 MB unread"
	Note       string   `json:"note,omitempty"`
}

// Passed reports whether the proxy did not fail the scenario.
func (r Result) Passed() bool { return r.Verdict == OK || r.Verdict == Skipped }

// columns are the headings of Table.
var columns = []string{"scenario", "sent", "received once", "lost", "again", "corrupt", "recovered",
	"peak memory", "verdict"}

// Table formats results as a table for people, with the sums of several results, followed by the
// notes.
func Table(results []Result) string {
	rows := [][]string{columns}
	for _, r := range results {
		rows = append(rows, r.cells())
	}
	if len(results) > 1 {
		rows = append(rows, sumOf(results).cells())
	}
	var b strings.Builder
	widths := columnWidths(rows)
	for _, row := range rows {
		b.WriteString(strings.TrimRight(formatRow(row, widths), " ") + "\n")
	}
	for _, r := range results {
		if r.Note != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", r.Scenario, r.Note)
		}
	}
	return b.String()
}

// sumOf adds up the lines of results.
func sumOf(results []Result) Result {
	all := Result{Scenario: "sum"}
	for _, r := range results {
		all.Sent += r.Sent
		all.ReceivedOnce += r.ReceivedOnce
		all.Lost += r.Lost
		all.Duplicated += r.Duplicated
		all.Corrupt += r.Corrupt
	}
	return all
}

func (r Result) cells() []string {
	if r.Verdict == Skipped {
		return []string{r.Scenario, "–", "–", "–", "–", "–", "–", "–", string(r.Verdict)}
	}
	recovered, memory := "–", "–"
	if r.Recovery != nil {
		recovered = fmt.Sprintf("%.2f s", *r.Recovery)
	}
	if r.PeakMemory != nil {
		memory = humanize.Bytes(uint64(*r.PeakMemory))
	}
	return []string{r.Scenario, comma(r.Sent), comma(r.ReceivedOnce), comma(r.Lost), comma(r.Duplicated),
		comma(r.Corrupt), recovered, memory, string(r.Verdict)}
}

func comma(n uint64) string { return humanize.Comma(int64(n)) }

func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// formatRow aligns the first and the last column, which are words, to the left, and numbers to
// the right.
func formatRow(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		switch i {
		case 0:
			b.WriteString(cell + pad)
		case len(row) - 1:
			b.WriteString("  " + cell)
		default:
			b.WriteString("  " + pad + cell)
		}
	}
	return b.String()
}
