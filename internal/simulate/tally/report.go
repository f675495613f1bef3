package tally

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"linesplit/internal/simulate/latency"
)

// ErrFaults is wrapped by the error of Report.Err, which adds the numbers.
var ErrFaults = errors.New("not every line arrived as it was sent")

// Report compares what was sent with what has arrived. It counts lines, except in the fields
// named after bytes.
type Report struct {
	// SentKnown reports whether the tally was told what was sent. If not, the highest number that
	// has arrived from a sender counts as its last: then neither a lost tail nor a sender from
	// which nothing arrived can be noticed.
	SentKnown bool   `json:"sent_known"`
	Sent      uint64 `json:"sent"`

	Received        uint64 `json:"received"`         // whole records, repeated ones included
	Bytes           uint64 `json:"bytes"`            // in these, newlines included
	Distinct        uint64 `json:"distinct"`         // different records
	Lost            uint64 `json:"lost"`             // sent, but never arrived
	Duplicated      uint64 `json:"duplicated"`       // copies after the first
	DuplicatedBytes uint64 `json:"duplicated_bytes"` // in these
	OutOfOrder      uint64 `json:"out_of_order"`     // first copies after a higher number of the same sender
	NeverSent       uint64 `json:"never_sent"`       // different records that no sender reports as sent
	Corrupt         uint64 `json:"corrupt"`          // altered records, and lines too long to be examined
	Torn            uint64 `json:"torn"`             // had no newline before a clean end of their connection
	Cut             uint64 `json:"cut"`              // had no newline when their connection broke: not lines
	Foreign         uint64 `json:"foreign"`          // not numbered records
	Untracked       uint64 `json:"untracked"`        // whole records for whose numbers there was no memory

	Senders []Sender `json:"senders"` // sorted by ID
	Latency Latency  `json:"latency"`
	Samples []string `json:"samples,omitempty"` // the first corrupt and torn lines, shortened and quoted
}

// Sender is the part of a report about one sender. Corrupt and torn lines cannot be attributed to
// a sender.
type Sender struct {
	ID         uint32 `json:"id"`
	Sent       uint64 `json:"sent"`
	Distinct   uint64 `json:"distinct"`
	Lost       uint64 `json:"lost"`
	LostSpans  []Span `json:"lost_spans,omitempty"` // the first few
	Duplicated uint64 `json:"duplicated"`
	OutOfOrder uint64 `json:"out_of_order"`
	NeverSent  uint64 `json:"never_sent"`

	// Only with Options.Detailed. The spans are the first few.
	Repeated       uint64 `json:"repeated,omitempty"` // different records with more than one copy
	RepeatedSpans  []Span `json:"repeated_spans,omitempty"`
	NeverSentSpans []Span `json:"never_sent_spans,omitempty"`
}

// faulty reports whether records of the sender are missing, or were never sent.
func (s Sender) faulty() bool { return s.Lost > 0 || s.NeverSent > 0 }

// Span is a range of record numbers; First and Last are included.
type Span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Latency measures the time from the making of a record until the application had read it, in
// seconds with three digits. Only first copies count. It compares the clock of the sender with
// that of the receiver: on two machines these often differ by more than the latency.
type Latency struct {
	latency.Quantiles
	Mean  float64 `json:"mean"`
	Early uint64  `json:"early"` // arrived before they were sent, by clocks that differ; count as 0
}

// Report compares what was sent with what has arrived so far. For each sender, sent is the number
// n of its records, which are 0 to n-1. If that is not known, sent is nil.
func (t *Tally) Report(sent map[uint32]uint64) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.totals
	r := Report{
		SentKnown:       sent != nil,
		Received:        c.records,
		Bytes:           c.bytes,
		Duplicated:      c.duplicated,
		DuplicatedBytes: c.duplicatedBytes,
		OutOfOrder:      c.outOfOrder,
		Corrupt:         c.corrupt,
		Torn:            c.torn,
		Cut:             c.cut,
		Foreign:         c.foreign,
		Untracked:       c.untracked,
		Samples:         slices.Clone(t.samples),
		Senders:         []Sender{},
	}
	for _, id := range t.senderIDsLocked(sent) {
		s := t.reportLocked(id, sent)
		r.Senders = append(r.Senders, s)
		r.Sent += s.Sent
		r.Distinct += s.Distinct
		r.Lost += s.Lost
		r.NeverSent += s.NeverSent
	}
	r.Latency = t.latencyLocked()
	return r
}

// senderIDsLocked returns the IDs of all senders from which something arrived, and of those in
// sent.
func (t *Tally) senderIDsLocked(sent map[uint32]uint64) []uint32 {
	ids := slices.Collect(maps.Keys(t.senders))
	for id := range sent {
		if t.senders[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (t *Tally) reportLocked(id uint32, sent map[uint32]uint64) Sender {
	s := t.viewLocked(id)
	n := s.next
	if sent != nil {
		n = sent[id]
	}
	lost := s.missing(n)
	r := Sender{
		ID:         id,
		Sent:       n,
		Distinct:   s.distinct,
		Lost:       lost.n,
		LostSpans:  lost.spans,
		Duplicated: s.duplicated,
		OutOfOrder: s.outOfOrder,
		NeverSent:  s.distinct - (n - lost.n),
	}
	if t.o.Detailed {
		repeated := noted(s.repeated, 0)
		r.Repeated, r.RepeatedSpans = repeated.n, repeated.spans
		r.NeverSentSpans = noted(s.pages, n).spans
	}
	return r
}

func (t *Tally) latencyLocked() Latency {
	return Latency{Quantiles: t.latency.Quantiles(), Mean: t.latency.Mean(), Early: t.totals.early}
}

// Err returns an error that wraps ErrFaults and lists what is wrong with the lines, or nil. Lines
// that were duplicated, out of order, or cut off when a connection broke are no faults:
// at-least-once delivery allows them.
func (r Report) Err() error {
	var wrong []string
	note := func(n uint64, what string) {
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", n, what))
		}
	}
	note(r.Lost, "lost")
	note(r.Corrupt, "corrupt")
	note(r.Torn, "torn")
	note(r.NeverSent, "never sent")
	note(r.Untracked, "not tracked, because there was no memory for their numbers")
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrFaults, strings.Join(wrong, ", "))
}

// Brief returns the report with at most n senders, faulty ones first, and the number of senders
// left out.
func (r Report) Brief(n int) (brief Report, leftOut int) {
	if len(r.Senders) <= n {
		return r, 0
	}
	senders := slices.Clone(r.Senders)
	slices.SortStableFunc(senders, func(a, b Sender) int {
		switch {
		case a.faulty() && !b.faulty():
			return -1
		case b.faulty() && !a.faulty():
			return 1
		}
		return 0
	})
	r.Senders = senders[:n]
	return r, len(senders) - n
}
