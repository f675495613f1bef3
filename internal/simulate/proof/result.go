package proof

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Verdict says in a word how a scenario ended.
type Verdict string

const (
	OK        Verdict = "ok"        // every line that was sent has been read, whole
	Lost      Verdict = "lost"      // lines are missing
	Corrupt   Verdict = "corrupt"   // none is missing, but some arrived torn, glued, altered or invented
	Failed    Verdict = "failed"    // the lines are all there, but the proxy did something else that it must not; see Note
	Unproven  Verdict = "unproven"  // what was to be staged did not happen; see Note
	Skipped   Verdict = "skipped"   // it cannot be staged here; see Note
	Cancelled Verdict = "cancelled" // the context ended on the way
)

// Result is what came of one scenario.
type Result struct {
	Scenario     string  `json:"scenario"`
	Verdict      Verdict `json:"verdict"`
	Sent         uint64  `json:"sent_lines"`          // whole lines that senders' kernels have taken
	ReceivedOnce uint64  `json:"received_once_lines"` // different ones that applications behind the targets have read
	Lost         uint64  `json:"lost_lines"`
	Duplicated   uint64  `json:"duplicated_lines"` // read again: no fault where lines are delivered at least once
	Corrupt      uint64  `json:"corrupt_lines"`    // torn, glued, altered, or never sent
	// Recovery is how long it took at worst until all lines had been read that were sent before a fault or within a second after it,
	// counted from when they had been sent, but not from before the fault; where nothing can arrive during the fault, not from before its
	// end. Null: never, or not looked at.
	Recovery   *float64 `json:"recovery_seconds"`
	PeakMemory *int64   `json:"peak_memory_bytes"` // resident memory of the proxy with its children; null: not known
	Seconds    float64  `json:"seconds"`           // that the scenario took
	Staged     string   `json:"staged"`            // what happened, in words: "crashes: 4, with 1.2 MB unread"
	Note       string   `json:"note,omitempty"`
}

// Passed says whether nothing speaks against the proxy.
func (r Result) Passed() bool { return r.Verdict == OK || r.Verdict == Skipped }

// heads are those of Table.
var heads = []string{"scenario", "sent", "received once", "lost", "duplicated", "corrupt", "recovered", "peak memory", "verdict"}

// Table returns results as one table, for people, and below it the notes.
func Table(results []Result) string {
	rows := [][]string{heads}
	for _, r := range results {
		rows = append(rows, r.cells())
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
	return []string{r.Scenario, comma(r.Sent), comma(r.ReceivedOnce), comma(r.Lost), comma(r.Duplicated), comma(r.Corrupt), recovered, memory,
		string(r.Verdict)}
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

// formatRow puts words to the left, which are the first column and the last, and figures to the right.
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
