// Package tally accounts for every line that receiving applications have read, over all their
// connections: which numbered records are missing, which arrived twice, which were altered, and
// how long they took.
package tally

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/latency"
	"linesplit/internal/simulate/record"
)

// Options bound the memory of a tally and say how strict it is. The zero value is the usual
// choice.
type Options struct {
	// Memory limits the bytes that the numbers of arrived records take: one bit each, in pages of
	// 2,048, plus some 500 bytes for each sender. Records beyond that count as Untracked. 256 MiB
	// if 0.
	Memory int64
	// Partial limits the bytes that the unfinished lines of all connections take. A line beyond
	// that counts as corrupt, as does one that is too long. 128 MiB if 0.
	Partial int64
	// MaxLine is the longest line in bytes, newline included. record.MaxLength, 16 MiB, if 0.
	MaxLine int
	// EndEndsLine makes a clean end of a connection end its last line, as many receivers do: a
	// whole record without a newline then counts as received, not as torn.
	EndEndsLine bool
	// Detailed makes reports list the records that were duplicated, which takes up to one more bit
	// for each record out of Memory, and those that were never sent.
	Detailed bool
	// Strict expects numbered records only: other lines count as corrupt, not as foreign.
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

// Tally is the account. All receivers of a run share one. Its methods are safe for concurrent
// use.
type Tally struct {
	o       Options
	partial atomic.Int64 // bytes reserved for unfinished lines

	mu      sync.Mutex // guards the fields below
	memory  int64      // bytes that senders and their pages take
	senders map[uint32]*sender
	totals  counts
	samples []string
	latency *latency.Histogram
}

// counts are those counts of a report that need no walk through the pages.
type counts struct {
	records, bytes              uint64 // whole records, repeated ones included
	duplicated, duplicatedBytes uint64
	outOfOrder, untracked       uint64
	corrupt, torn, cut          uint64
	foreign                     uint64
	early                       uint64
}

// maxLatency is the highest latency that is measured; higher ones count as this.
const maxLatency = 24 * time.Hour

// maxSamples is the number of bad lines that a tally keeps.
const maxSamples = 8

// New returns an empty tally.
func New(o Options) *Tally {
	return &Tally{
		o:       o.withDefaults(),
		senders: make(map[uint32]*sender),
		latency: latency.New(time.Microsecond, maxLatency),
	}
}

// arrival is a whole record that has arrived.
type arrival struct {
	id   record.ID
	size int // bytes, newline included
}

// add counts what a reader has found: whole records, the counts of all other lines, and samples
// of bad ones.
func (t *Tally) add(now time.Time, whole []arrival, others counts, samples []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range whole {
		t.addRecordLocked(now, a)
	}
	t.totals.corrupt += others.corrupt
	t.totals.torn += others.torn
	t.totals.cut += others.cut
	t.totals.foreign += others.foreign
	t.samples = append(t.samples, samples[:min(len(samples), maxSamples-len(t.samples))]...)
}

func (t *Tally) addRecordLocked(now time.Time, a arrival) {
	t.totals.records++
	t.totals.bytes += uint64(a.size)
	s := t.senderLocked(a.id.Sender)
	if s == nil || !t.ensurePageLocked(s, a.id.Seq) {
		t.totals.untracked++
		return
	}
	switch s.add(a.id.Seq) {
	case duplicate:
		t.totals.duplicated++
		t.totals.duplicatedBytes += uint64(a.size)
		t.noteRepeatLocked(s, a.id.Seq)
		return
	case outOfOrder:
		t.totals.outOfOrder++
	}
	t.addLatencyLocked(now.Sub(a.id.Sent))
}

// senderLocked returns a sender's part, or nil if there is no memory for another sender.
func (t *Tally) senderLocked(id uint32) *sender {
	s := t.senders[id]
	if s == nil && t.memory+senderSize <= t.o.Memory {
		s = newSender()
		t.senders[id] = s
		t.memory += senderSize
	}
	return s
}

// ensurePageLocked makes the page for a record number if it does not exist yet. It returns false
// if there is no memory for it.
func (t *Tally) ensurePageLocked(s *sender, seq uint64) bool {
	if s.hasPage(seq) {
		return true
	}
	if t.memory+pageSize > t.o.Memory {
		return false
	}
	s.addPage(seq)
	t.memory += pageSize
	return true
}

// noteRepeatLocked notes which record was duplicated, for a detailed report and if there is memory
// for it.
func (t *Tally) noteRepeatLocked(s *sender, seq uint64) {
	if !t.o.Detailed {
		return
	}
	if no := seq / pageRecords; s.repeated[no] == nil {
		if t.memory+pageSize > t.o.Memory {
			return
		}
		if s.repeated == nil {
			s.repeated = make(map[uint64]*page)
		}
		s.repeated[no] = new(page)
		t.memory += pageSize
	}
	s.repeat(seq)
}

// addLatencyLocked records how long a record took to arrive.
func (t *Tally) addLatencyLocked(d time.Duration) {
	if d < 0 { // the two clocks differ
		t.totals.early++
		d = 0
	}
	t.latency.Record(d)
}

// Received returns how many whole records have arrived, repeated ones included.
func (t *Tally) Received() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.totals.records
}

// Missing returns how many of a sender's records 0 to sent-1 have not arrived.
func (t *Tally) Missing(sender uint32, sent uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.viewLocked(sender).missing(sent).n
}

// viewLocked returns a sender's part for reading; an empty one if nothing arrived from that
// sender.
func (t *Tally) viewLocked(id uint32) *sender {
	if s := t.senders[id]; s != nil {
		return s
	}
	return newSender()
}
