//go:build linux

package testrig

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/tally"
)

// Records returns the first n records of a sender, each a line of size bytes with its newline.
func Records(sender uint32, n, size int) (lines []byte) {
	g := record.NewGenerator(sender, record.Length{Min: size, Max: size})
	for range n {
		lines = g.Append(lines, time.Now())
	}
	return lines
}

// Tally accounts for all lines that receiving applications have read. The targets of a test share
// one. It is safe for concurrent use.
type Tally struct {
	*tally.Tally
	foreign *foreignLines // nil: lines that are not numbered records count as corrupt
}

// NewTally returns an empty tally, which expects numbered records only.
func NewTally() *Tally {
	return &Tally{Tally: tally.New(tally.Options{Detailed: true, Strict: true})}
}

// NewForeignTally returns an empty tally that also keeps lines that are not numbered records.
func NewForeignTally() *Tally {
	return &Tally{tally.New(tally.Options{Detailed: true}), &foreignLines{lines: make(map[string]int)}}
}

// Lines returns how many numbered records have arrived, duplicates included.
func (t *Tally) Lines() int { return int(t.Received()) }

// Foreign returns the lines that are not numbered records, without their newlines, and how often
// each arrived.
func (t *Tally) Foreign() map[string]int {
	t.foreign.mu.Lock()
	defer t.foreign.mu.Unlock()
	return maps.Clone(t.foreign.lines)
}

// HasAll reports whether every line of what was sent has arrived at least once.
func (t *Tally) HasAll(sent Sent) bool {
	for sender, n := range sent {
		if t.Missing(sender, n) > 0 {
			return false
		}
	}
	return true
}

// Report compares what was sent with what has arrived so far.
func (t *Tally) Report(sent Sent) Report { return Report{t.Tally.Report(sent)} }

// foreignLines keeps lines that are not numbered records. It is the output of sinks.
type foreignLines struct {
	mu    sync.Mutex
	lines map[string]int
}

// Write takes whole lines.
func (f *foreignLines) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSuffix(line, []byte("\n")); !record.Numbered(line) {
			f.lines[string(line)]++
		}
	}
	return len(b), nil
}

// Sent holds how many lines each sender has written whole: those numbered 0 to n-1.
type Sent map[uint32]uint64

// Lines returns their sum.
func (s Sent) Lines() (n int) {
	for _, lines := range s {
		n += int(lines)
	}
	return n
}

// Report compares what was sent with what was received.
type Report struct{ tally.Report }

// String returns one line of counts.
func (r Report) String() string {
	return fmt.Sprintf("sent %d, received %d, lost %d, duplicates %d, never sent %d, corrupt %d, torn %d, "+
		"cut off by a break %d", r.Sent, r.Received, r.Lost, r.Duplicated, r.NeverSent, r.Corrupt, r.Torn, r.Cut)
}

// Details lists which lines of each sender are not as they should be, and shows the first corrupt
// and torn ones.
func (r Report) Details() string {
	var details []string
	for _, s := range r.Senders {
		for _, fault := range []struct {
			what  string
			n     uint64
			spans []tally.Span
		}{
			{"lost", s.Lost, s.LostSpans},
			{"more than once", s.Repeated, s.RepeatedSpans},
			{"never sent", s.NeverSent, s.NeverSentSpans},
		} {
			if fault.n > 0 {
				details = append(details, fmt.Sprintf("sender %d: %s: %d lines:%s", s.ID, fault.what, fault.n,
					spanText(fault.n, fault.spans)))
			}
		}
	}
	return strings.Join(append(details, r.Samples...), "\n")
}

// spanText lists spans that hold n lines, or the first of these.
func spanText(n uint64, spans []tally.Span) string {
	var b strings.Builder
	for _, span := range spans {
		fmt.Fprintf(&b, " %d-%d", span.First, span.Last)
		n -= span.Last - span.First + 1
	}
	if n > 0 {
		b.WriteString(" …")
	}
	return b.String()
}
