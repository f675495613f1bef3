// Package tally accounts for every line that receiving applications have read, over all their connections: which numbered records are
// missing, which came twice, which are not as they were sent, and how long they took.
package tally

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/latency"
	"linesplit/internal/simulate/record"
)

// Options bound a tally. The zero value is the usual one.
type Options struct {
	// Memory is how many bytes the numbers may take of the records that have come: a bit for each, in pages of 2,048, and some 500 bytes
	// for each sender. What goes beyond is counted as Untracked. 256 MiB if 0.
	Memory int64
	// Partial is how many bytes the unfinished lines of all connections may take. One that does not fit any more counts as corrupt, as
	// does one that is too long. 128 MiB if 0.
	Partial int64
	// MaxLine is the longest line in bytes, its newline included. record.MaxLength, 16 MiB, if 0.
	MaxLine int
	// EndEndsLine says that a clean end of a connection ends its last line, as many a receiver has it: a whole record there counts as received,
	// and not as torn.
	EndEndsLine bool
	// Strict says that nothing but numbered records is expected: other lines count as corrupt, not as foreign.
	Strict bool
}

func (o Options) withDefaults() Options {
	if o.Memory <= 0 {
		o.Memory = 256 * humanize.MiByte
	}
	if o.Partial <= 0 {
		o.Partial = 128 * humanize.MiByte
	}
	if o.MaxLine <= 0 {
		o.MaxLine = record.MaxLength
	}
	return o
}

// Tally is the account. All receivers of a run share one. Its methods are safe for concurrent use.
type Tally struct {
	o       Options
	partial atomic.Int64 // bytes that unfinished lines take

	mu      sync.Mutex // guards the fields below
	memory  int64      // bytes that the senders take
	senders map[uint32]*sender
	totals  counts
	samples []string
	latency *latency.Histogram
}

// counts are a report's, as far as they need no looking through records.
type counts struct {
	records, bytes        uint64 // whole records, repeated ones included
	again, againBytes     uint64
	disordered, untracked uint64
	corrupt, torn, cut    uint64
	foreign               uint64
	early                 uint64
}

// maxLatency is the longest latency that is told from longer ones.
const maxLatency = 24 * time.Hour

// maxSamples is how many bad lines a tally keeps to show.
const maxSamples = 8

// New returns an empty tally.
func New(o Options) *Tally {
	return &Tally{
		o:       o.withDefaults(),
		senders: make(map[uint32]*sender),
		latency: latency.New(time.Microsecond, maxLatency),
	}
}

// arrival is a whole record that has come.
type arrival struct {
	id   record.ID
	size int // in bytes, its newline included
}

// add takes what a connection has brought at once. bad is what is wrong with the rest of it.
func (t *Tally) add(now time.Time, whole []arrival, rest counts, bad []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range whole {
		t.addRecordLocked(now, a)
	}
	t.totals.corrupt += rest.corrupt
	t.totals.torn += rest.torn
	t.totals.cut += rest.cut
	t.totals.foreign += rest.foreign
	t.samples = append(t.samples, bad[:min(len(bad), maxSamples-len(t.samples))]...)
}

func (t *Tally) addRecordLocked(now time.Time, a arrival) {
	t.totals.records++
	t.totals.bytes += uint64(a.size)
	s := t.senderLocked(a.id.Sender)
	if s == nil || !t.roomLocked(s, a.id.Seq) {
		t.totals.untracked++
		return
	}
	switch s.mark(a.id.Seq) {
	case again:
		t.totals.again++
		t.totals.againBytes += uint64(a.size)
		return
	case disordered:
		t.totals.disordered++
	}
	t.tookLocked(now.Sub(a.id.Sent))
}

// senderLocked returns a sender's part, or nil where there is no memory for another one.
func (t *Tally) senderLocked(id uint32) *sender {
	s := t.senders[id]
	if s == nil && t.memory+senderSize <= t.o.Memory {
		s = newSender()
		t.senders[id] = s
		t.memory += senderSize
	}
	return s
}

// roomLocked makes a page for a record's number if there is none, and says whether there is one now.
func (t *Tally) roomLocked(s *sender, seq uint64) bool {
	if s.has(seq) {
		return true
	}
	if t.memory+pageSize > t.o.Memory {
		return false
	}
	s.add(seq)
	t.memory += pageSize
	return true
}

// tookLocked notes how long a record was on its way.
func (t *Tally) tookLocked(d time.Duration) {
	if d < 0 { // by two clocks that differ
		t.totals.early++
		d = 0
	}
	t.latency.Record(d)
}

// Missing returns how many of a sender's records 0 to sent-1 have never come.
func (t *Tally) Missing(sender uint32, sent uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.viewLocked(sender).missing(sent).n
}

// viewLocked returns what has come of a sender, to be read only; an empty one for a sender of whom nothing has.
func (t *Tally) viewLocked(id uint32) *sender {
	if s := t.senders[id]; s != nil {
		return s
	}
	return newSender()
}
