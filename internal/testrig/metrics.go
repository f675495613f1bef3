//go:build linux

package testrig

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Metrics is one scrape: the value of each series, by name and labels as in the exposition format.
type Metrics map[string]float64

func parseMetrics(r io.Reader) (Metrics, error) {
	m := make(Metrics)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		m[line[:cut]] = value
	}
	return m, lines.Err()
}

// Sum returns the sum of all series of a name whose labels contain all of the given texts, such as
// `reason="torn"`.
func (m Metrics) Sum(name string, labels ...string) float64 {
	sum := 0.0
	for series, value := range m {
		if m.matches(series, name, labels) {
			sum += value
		}
	}
	return sum
}

func (Metrics) matches(series, name string, labels []string) bool {
	base, rest, _ := strings.Cut(series, "{")
	lacks := func(label string) bool { return !strings.Contains(rest, label) }
	return base == name && !slices.ContainsFunc(labels, lacks)
}

// Label returns the text of a label for Sum.
func Label(name, value string) string { return name + "=" + strconv.Quote(value) }

// Ledger accounts for everything that was received, in lines or in bytes.
type Ledger struct {
	Unit                                                     string
	Received, Confirmed, Rejected, Retained, Queued, Dropped float64
}

// Ledger returns the ledger in a unit, "lines" or "bytes".
func (m Metrics) Ledger(unit string) Ledger {
	l := Ledger{
		Unit:      unit,
		Received:  m.Sum("linesplit_received_" + unit + "_total"),
		Confirmed: m.Sum("linesplit_confirmed_" + unit + "_total"),
		Rejected:  m.Sum("linesplit_rejected_" + unit + "_total"),
		Retained:  m.Sum("linesplit_retained_" + unit),
		Queued:    m.Sum("linesplit_queued_" + unit),
		Dropped:   m.Sum("linesplit_dropped_" + unit + "_total"),
	}
	if unit == "bytes" { // what the framing of targets has added and removed
		l.Received += m.Sum("linesplit_framing_bytes_total", Label("change", "added"))
		l.Dropped += m.Sum("linesplit_framing_bytes_total", Label("change", "removed"))
	}
	return l
}

// Holds reports whether everything received is accounted for.
func (l Ledger) Holds() bool {
	return l.Received == l.Confirmed+l.Rejected+l.Retained+l.Queued+l.Dropped
}

func (l Ledger) String() string {
	return fmt.Sprintf("%s: received %.0f = confirmed %.0f + rejected %.0f + retained %.0f + queued %.0f + dropped %.0f "+
		"(missing %.0f)", l.Unit, l.Received, l.Confirmed, l.Rejected, l.Retained, l.Queued, l.Dropped,
		l.Received-l.Confirmed-l.Rejected-l.Retained-l.Queued-l.Dropped)
}

// Dump lists linesplit's own series that are not 0, except for the buckets of histograms.
func (m Metrics) Dump() string {
	var out []string
	for series, value := range m {
		if strings.HasPrefix(series, "linesplit_") && value != 0 && !strings.Contains(series, "_bucket") {
			out = append(out, fmt.Sprintf("%s %v", series, value))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
