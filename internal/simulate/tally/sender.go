package tally

import (
	"maps"
	"math/bits"
	"slices"
)

// A page holds a bit for each of pageRecords records that follow each other. Pages are made for the numbers that come, so that a sender
// with a few records costs little, and one high number no more than a low one.
const (
	pageWords   = 32
	pageRecords = 64 * pageWords
)

// What a sender and a page take, in bytes, with what maps need.
const (
	senderSize = 320
	pageSize   = 8*pageWords + 64
)

type page [pageWords]uint64

// sender is what has come of one sender. The tally's lock guards it.
type sender struct {
	pages map[uint64]*page // by number of the first record, over pageRecords
	next  uint64           // above the highest number that has come

	last   *page // that was used last; may be nil
	lastNo uint64

	distinct, again, disordered uint64
}

func newSender() *sender { return &sender{pages: make(map[uint64]*page)} }

func (s *sender) has(seq uint64) bool { return s.page(seq/pageRecords) != nil }

func (s *sender) add(seq uint64) { s.pages[seq/pageRecords] = new(page) }

func (s *sender) page(no uint64) *page {
	if s.last == nil || s.lastNo != no {
		s.last, s.lastNo = s.pages[no], no
	}
	return s.last
}

// place says how a record came.
type place int

const (
	inOrder    place = iota
	disordered       // for the first time, after one with a higher number
	again
)

// mark notes that a record has come, whose page there is.
func (s *sender) mark(seq uint64) place {
	word := &s.page(seq / pageRecords)[seq%pageRecords/64]
	bit := uint64(1) << (seq % 64)
	if *word&bit != 0 {
		s.again++
		return again
	}
	*word |= bit
	s.distinct++
	if seq < s.next {
		s.disordered++
		return disordered
	}
	s.next = seq + 1
	return inOrder
}

// missing returns which of the records 0 to sent-1 have not come.
func (s *sender) missing(sent uint64) gaps {
	g := gaps{end: sent}
	looked := uint64(0) // all below has been looked at
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

// maxSpans is how many spans a report lists of a sender.
const maxSpans = 8

// gaps gathers numbers in rising order.
type gaps struct {
	end   uint64 // numbers from here on do not count
	n     uint64
	spans []Span // the first maxSpans
}

// add adds the numbers from first to the one before end.
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
