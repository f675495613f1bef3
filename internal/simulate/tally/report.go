package tally

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"linesplit/internal/simulate/latency"
)

// ErrFaults is what Report.Err returns, wrapped with the numbers.
var ErrFaults = errors.New("not every line arrived as it was sent")

// Report compares what was sent with what has come. All counts are lines, but for those of bytes.
type Report struct {
	// SentKnown says whether the tally was told what was sent. If not, the highest number of each sender that has come counts as its last:
	// a lost tail, and a sender of whom nothing came, cannot be known.
	SentKnown bool   `json:"sent_known"`
	Sent      uint64 `json:"sent"`

	Received        uint64 `json:"received"`         // whole records, repeated ones included
	Bytes           uint64 `json:"bytes"`            // of these, newlines included
	Distinct        uint64 `json:"distinct"`         // different records
	Lost            uint64 `json:"lost"`             // sent, and never came
	Duplicated      uint64 `json:"duplicated"`       // came again
	DuplicatedBytes uint64 `json:"duplicated_bytes"` // of these
	OutOfOrder      uint64 `json:"out_of_order"`     // came for the first time after a record of the same sender with a higher number
	NeverSent       uint64 `json:"never_sent"`       // different records that nobody says to have sent
	Corrupt         uint64 `json:"corrupt"`          // end as records do and are not as they were sent, or are too long to be looked at
	Torn            uint64 `json:"torn"`             // stood without a newline before a clean end of a connection
	Cut             uint64 `json:"cut"`              // stood without a newline where a connection broke, which makes them no lines
	Foreign         uint64 `json:"foreign"`          // never were numbered records
	Untracked       uint64 `json:"untracked"`        // whole records for whose numbers there was no memory

	Senders []Sender `json:"senders"` // by number
	Latency Latency  `json:"latency"`
	Samples []string `json:"samples,omitempty"` // the first corrupt and torn lines, shortened and quoted
}

// Sender is a report's part for one sender. Lines that are corrupt or torn do not tell whose they were.
type Sender struct {
	ID         uint32 `json:"id"`
	Sent       uint64 `json:"sent"`
	Distinct   uint64 `json:"distinct"`
	Lost       uint64 `json:"lost"`
	LostSpans  []Span `json:"lost_spans,omitempty"` // the first few
	Duplicated uint64 `json:"duplicated"`
	OutOfOrder uint64 `json:"out_of_order"`
	NeverSent  uint64 `json:"never_sent"`
}

// faulty says whether something is wrong with what came of a sender.
func (s Sender) faulty() bool { return s.Lost > 0 || s.NeverSent > 0 }

// Span are the numbers from First to Last, both included.
type Span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Latency says how long records were on their way, from when they were made until the application had read them: in seconds, to three digits,
// first copies only. It compares the sender's clock with the receiver's. On two machines these differ, often by more than a record takes.
type Latency struct {
	latency.Quantiles
	Mean  float64 `json:"mean"`
	Early uint64  `json:"early"` // came before they were sent, so the clocks differ; counted as 0
}

// Report compares what was sent, by sender the records 0 to n-1, with what has come so far. Where nobody knows, sent is nil.
func (t *Tally) Report(sent map[uint32]uint64) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.totals
	r := Report{
		SentKnown:       sent != nil,
		Received:        c.records,
		Bytes:           c.bytes,
		Duplicated:      c.again,
		DuplicatedBytes: c.againBytes,
		OutOfOrder:      c.disordered,
		Corrupt:         c.corrupt,
		Torn:            c.torn,
		Cut:             c.cut,
		Foreign:         c.foreign,
		Untracked:       c.untracked,
		Samples:         slices.Clone(t.samples),
		Senders:         []Sender{},
	}
	for _, id := range t.knownLocked(sent) {
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

// knownLocked lists who sent something, or is said to.
func (t *Tally) knownLocked(sent map[uint32]uint64) []uint32 {
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
	return Sender{
		ID:         id,
		Sent:       n,
		Distinct:   s.distinct,
		Lost:       lost.n,
		LostSpans:  lost.spans,
		Duplicated: s.again,
		OutOfOrder: s.disordered,
		NeverSent:  s.distinct - (n - lost.n),
	}
}

func (t *Tally) latencyLocked() Latency {
	return Latency{Quantiles: t.latency.Quantiles(), Mean: t.latency.Mean(), Early: t.totals.early}
}

// Err says what is wrong with the lines, wrapping ErrFaults, or is nil. Lines that came again, out of order, or were cut off where a
// connection broke are nothing wrong: delivery at least once is like that.
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
	note(r.Untracked, "not accounted for, since there was no memory left for their numbers")
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrFaults, strings.Join(wrong, ", "))
}

// Brief returns the report with at most n senders, those with faults before the others, and in how many it leaves out.
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
