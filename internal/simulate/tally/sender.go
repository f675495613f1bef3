package tally

import (
	"maps"
	"math/bits"
	"slices"
)

// A page holds one bit for each of pageRecords consecutive records. Pages are allocated for the
// numbers that arrive, so a sender with a few records needs little memory, and a high number
// needs no more than a low one.
const (
	pageWords   = 32
	pageRecords = 64 * pageWords
)

// Memory of a sender and of a page in bytes, including their map entries.
const (
	senderSize = 320
	pageSize   = 8*pageWords + 64
)

type page [pageWords]uint64

// sender records what has arrived from one sender. It is guarded by the tally's lock.
type sender struct {
	pages map[uint64]*page // by the number of the first record, divided by pageRecords
	next  uint64           // highest number that has arrived, plus 1

	last   *page // page that was used last; may be nil
	lastNo uint64

	distinct, duplicated, outOfOrder uint64
}

func newSender() *sender { return &sender{pages: make(map[uint64]*page)} }

func (s *sender) hasPage(seq uint64) bool { return s.page(seq/pageRecords) != nil }

func (s *sender) addPage(seq uint64) { s.pages[seq/pageRecords] = new(page) }

func (s *sender) page(no uint64) *page {
	if s.last == nil || s.lastNo != no {
		s.last, s.lastNo = s.pages[no], no
	}
	return s.last
}

// kind classifies a record that arrives.
type kind int

const (
	inOrder    kind = iota
	outOfOrder      // first copy, after a record with a higher number
	duplicate
)

// add notes that a record has arrived. The caller has made sure that its page exists.
func (s *sender) add(seq uint64) kind {
	word := &s.page(seq / pageRecords)[seq%pageRecords/64]
	bit := uint64(1) << (seq % 64)
	if *word&bit != 0 {
		s.duplicated++
		return duplicate
	}
	*word |= bit
	s.distinct++
	if seq < s.next {
		s.outOfOrder++
		return outOfOrder
	}
	s.next = seq + 1
	return inOrder
}

// missing returns which of the records 0 to sent-1 have not arrived.
func (s *sender) missing(sent uint64) gaps {
	g := gaps{end: sent}
	looked := uint64(0) // all numbers below have been checked
	for _, no := range slices.Sorted(maps.Keys(s.pages)) {
		first := no * pageRecords
		g.add(looked, first)
		s.pages[no].missing(first, &g)
		looked = first + pageRecords
	}
	g.add(looked, sent)
	return g
}

func (p *page) missing(first uint64, g *gaps) {
	for i, word := range p {
		for lacks := ^word; lacks != 0; lacks &= lacks - 1 {
			seq := first + uint64(64*i+bits.TrailingZeros64(lacks))
			g.add(seq, seq+1)
		}
	}
}

// maxSpans is the number of spans that a report lists for a sender.
const maxSpans = 8

// gaps collects missing numbers in rising order.
type gaps struct {
	end   uint64 // numbers from here on are ignored
	n     uint64
	spans []Span // the first maxSpans
}

// add adds the numbers from first to end-1.
func (g *gaps) add(first, end uint64) {
	end = min(end, g.end)
	if first >= end {
		return
	}
	g.n += end - first
	last := len(g.spans) - 1
	switch {
	case last >= 0 && g.spans[last].Last+1 == first:
		g.spans[last].Last = end - 1
	case len(g.spans) < maxSpans:
		g.spans = append(g.spans, Span{first, end - 1})
	}
}
