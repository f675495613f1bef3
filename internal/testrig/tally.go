//go:build linux

package testrig

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Tally counts what receiving applications have read, line by line. All targets
// of a test share one. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	seen      map[int][]uint16 // per sender: how often each seq came
	lines     int              // numbered lines, duplicates included
	raw       map[string]int   // what else came, if asked for; nil: it is corrupt
	corrupt   []string         // the first lines that nobody sent
	corrupted int
	torn      []string // the first fragments before an end of stream
	tears     int
	cut       int // fragments where the receiver itself ended the connection, or it broke
}

// maxSamples is how many bad lines a tally keeps to show.
const maxSamples = 8

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{seen: make(map[int][]uint16)} }

// KeepRaw makes the tally count lines that are not numbered by their content.
// Without it they are corrupt. It is called before the first line.
func (t *Tally) KeepRaw() { t.raw = make(map[string]int) }

// Lines is how many numbered lines came, duplicates included.
func (t *Tally) Lines() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines
}

// Raw returns the lines that were not numbered, without their newlines, and how
// often each came.
func (t *Tally) Raw() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.raw)
}

// HasAll says whether every line of what was sent has come at least once.
func (t *Tally) HasAll(sent Sent) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sender, n := range sent {
		seen := t.seen[sender]
		if len(seen) < n {
			return false
		}
		if slices.Contains(seen[:n], 0) {
			return false
		}
	}
	return true
}

func (t *Tally) addLocked(sender, seq int) {
	seen := t.seen[sender]
	for len(seen) <= seq {
		seen = append(seen, 0)
	}
	seen[seq]++
	t.seen[sender] = seen
	t.lines++
}

func (t *Tally) addOtherLocked(line []byte) {
	if t.raw != nil {
		t.raw[string(line)]++
		return
	}
	t.corrupted++
	if len(t.corrupt) < maxSamples {
		t.corrupt = append(t.corrupt, sample(line))
	}
}

// fragment takes what stood behind the last newline when a connection ended.
// Before the peer's end of stream it is a torn line: many a receiver would take
// it for whole. Before a break it is none, since a receiver discards it.
func (t *Tally) fragment(b []byte, endOfStream bool) {
	if len(b) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !endOfStream {
		t.cut++
		return
	}
	t.tears++
	if len(t.torn) < maxSamples {
		t.torn = append(t.torn, sample(b))
	}
}

func sample(b []byte) string {
	const most = 160
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q … %q (%d bytes)", b[:most/2], b[len(b)-most/2:], len(b))
}

// scanner cuts the bytes of one inbound connection of a target into lines.
type scanner struct {
	tally *Tally
	tail  []byte
	lines int // numbered and other, for the target's own count
}

// feed takes what the application has read. The tally's lock is taken once.
func (s *scanner) feed(b []byte) {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			s.tail = append(s.tail, b...)
			return
		}
		line := b[:i]
		if len(s.tail) > 0 {
			s.tail = append(s.tail, line...)
			line = s.tail
		}
		s.take(line)
		s.tail = s.tail[:0]
		b = b[i+1:]
	}
}

func (s *scanner) take(line []byte) {
	s.lines++
	if sender, seq, ok := parseLine(line); ok {
		s.tally.addLocked(sender, seq)
		return
	}
	s.tally.addOtherLocked(line)
}

// end says how the connection ended.
func (s *scanner) end(endOfStream bool) { s.tally.fragment(s.tail, endOfStream) }

// Sent says how many lines each sender has written whole: 0 to n-1.
type Sent map[int]int

// Lines is their sum.
func (s Sent) Lines() int {
	n := 0
	for _, lines := range s {
		n += lines
	}
	return n
}

// Report compares what was sent with what was received.
type Report struct {
	Sent       int
	Received   int // numbered lines, duplicates included
	Lost       int // sent, never received
	Duplicates int // received again
	NeverSent  int // numbered lines nobody reports as sent
	Corrupt    int // lines that do not parse or whose checksum is off
	Torn       int // fragments before an end of stream
	Cut        int // fragments before a break: no lines
	details    []string
}

// Report compares what was sent with what has come so far.
func (t *Tally) Report(sent Sent) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Report{Sent: sent.Lines(), Received: t.lines, Corrupt: t.corrupted, Torn: t.tears, Cut: t.cut}
	for sender, n := range sent {
		r.compare(sender, n, t.seen[sender])
	}
	for sender, seen := range t.seen {
		if _, known := sent[sender]; !known {
			r.compare(sender, 0, seen)
		}
	}
	for _, line := range t.corrupt {
		r.details = append(r.details, "corrupt: "+line)
	}
	for _, line := range t.torn {
		r.details = append(r.details, "torn: "+line)
	}
	return r
}

func (r *Report) compare(sender, sent int, seen []uint16) {
	var lost, twice, unknown ranges
	for seq := range max(sent, len(seen)) {
		times := 0
		if seq < len(seen) {
			times = int(seen[seq])
		}
		switch {
		case seq >= sent && times > 0:
			unknown.add(seq)
		case times == 0 && seq < sent:
			lost.add(seq)
		case times > 1:
			twice.add(seq)
			r.Duplicates += times - 1
		}
	}
	r.Lost += lost.n
	r.NeverSent += unknown.n
	r.detail(sender, "lost", lost)
	r.detail(sender, "more than once", twice)
	r.detail(sender, "never sent", unknown)
}

func (r *Report) detail(sender int, what string, found ranges) {
	if found.n > 0 {
		r.details = append(r.details, fmt.Sprintf("sender %d: %s: %d lines: %s", sender, what, found.n, found.String()))
	}
}

// String is one line of counts.
func (r Report) String() string {
	return fmt.Sprintf("sent %d, received %d, lost %d, duplicates %d, never sent %d, corrupt %d, torn %d, cut off by a break %d",
		r.Sent, r.Received, r.Lost, r.Duplicates, r.NeverSent, r.Corrupt, r.Torn, r.Cut)
}

// Details says which lines, as ranges per sender, and shows corrupt ones.
func (r Report) Details() string { return strings.Join(r.details, "\n") }

// ranges collects numbers that come in rising order.
type ranges struct {
	n     int
	spans [][2]int
}

func (r *ranges) add(i int) {
	r.n++
	if last := len(r.spans) - 1; last >= 0 && r.spans[last][1] == i-1 {
		r.spans[last][1] = i
		return
	}
	r.spans = append(r.spans, [2]int{i, i})
}

func (r *ranges) String() string {
	const most = 12
	var b strings.Builder
	for i, span := range r.spans {
		if i == most {
			fmt.Fprintf(&b, " … and %d more ranges", len(r.spans)-most)
			break
		}
		fmt.Fprintf(&b, " %d-%d", span[0], span[1])
	}
	return strings.TrimSpace(b.String())
}
