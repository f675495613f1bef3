package tally

import (
	"maps"
	"math"
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
	pages    map[uint64]*page // by the number of the first record, divided by pageRecords
	repeated map[uint64]*page // which records were duplicated; nil without any, and unless Options.Detailed
	next     uint64           // highest number that has arrived, plus 1

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

// repeat notes that a record is one of those that were duplicated. The caller has made sure that
// its page in repeated exists.
func (s *sender) repeat(seq uint64) {
	s.repeated[seq/pageRecords][seq%pageRecords/64] |= 1 << (seq % 64)
}

// missing returns which of the records 0 to sent-1 have not arrived.
func (s *sender) missing(sent uint64) numbers {
	n := numbers{end: sent}
	looked := uint64(0) // all numbers below have been checked
	for _, no := range slices.Sorted(maps.Keys(s.pages)) {
		first := no * pageRecords
		n.add(looked, first)
		s.pages[no].clear(first, &n)
		looked = first + pageRecords
	}
	n.add(looked, sent)
	return n
}

// noted returns which records from start on are noted in pages.
func noted(pages map[uint64]*page, start uint64) numbers {
	n := numbers{start: start, end: math.MaxUint64}
	for _, no := range slices.Sorted(maps.Keys(pages)) {
		pages[no].set(no*pageRecords, &n)
	}
	return n
}

// clear adds the numbers of the bits that are 0. The first bit is that of the number first.
func (p *page) clear(first uint64, n *numbers) {
	for i, word := range p {
		n.addWord(first+uint64(64*i), ^word)
	}
}

// set adds the numbers of the bits that are 1.
func (p *page) set(first uint64, n *numbers) {
	for i, word := range p {
		n.addWord(first+uint64(64*i), word)
	}
}

// maxSpans is the number of spans that a report lists for a sender.
const maxSpans = 8

// numbers collects record numbers in rising order.
type numbers struct {
	start, end uint64 // numbers below start, and from end on, are ignored
	n          uint64
	spans      []Span // the first maxSpans
}

// addWord adds the numbers of the bits that are 1. The lowest bit is that of the number first.
func (n *numbers) addWord(first, word uint64) {
	for ; word != 0; word &= word - 1 {
		seq := first + uint64(bits.TrailingZeros64(word))
		n.add(seq, seq+1)
	}
}

// add adds the numbers from first to end-1.
func (n *numbers) add(first, end uint64) {
	first, end = max(first, n.start), min(end, n.end)
	if first >= end {
		return
	}
	n.n += end - first
	last := len(n.spans) - 1
	switch {
	case last >= 0 && n.spans[last].Last+1 == first:
		n.spans[last].Last = end - 1
	case len(n.spans) < maxSpans:
		n.spans = append(n.spans, Span{first, end - 1})
	}
}
