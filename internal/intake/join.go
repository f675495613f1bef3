package intake

import (
	"bytes"
	"regexp"
	"sync/atomic"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// This file joins lines that end in newlines to records of several lines, such as a stack trace. A
// record begins with each line that matches an expression. It is not whole before the next one
// begins, or a bound is reached, and until then it is a part of the unfinished line: in one buffer
// with that, before it.

// Join tells how lines are joined. The zero value means that they are not.
type Join struct {
	Start *regexp.Regexp // matches the first line of each record, without its newline; nil: no joining
	Lines int            // the most lines of a record
}

// record is the unfinished record of a stream. Its last line may follow, see Stream.
type record struct {
	size  int          // of its lines, each with its newline, at the front of the buffer
	lines int          // their number
	set   Join         // as of the last read
	ends  []int        // in the buffer, of the records that the last read has completed
	multi bool         // one of those has several lines
	since atomic.Int64 // when the last line came, in the form of budget.now; 0: there is none
}

// join takes the whole lines b[record.size:whole], with rest bytes of an unfinished line behind
// them. It returns the length of the records that are complete, and their number.
//
// A record is complete when it has as many lines as allowed, or when it would become longer than
// the longest line with the next one, even if that is not whole yet.
func (s *Stream) join(set Join, whole, rest int, now time.Time) (size, records int) {
	b, r := s.buf.B, &s.record
	r.set = set
	begin, lines, at := 0, r.lines, r.size
	r.ends, r.multi = r.ends[:0], false
	complete := func() {
		if lines > 0 {
			r.ends, r.multi = append(r.ends, at), r.multi || lines > 1
			begin, lines = at, 0
		}
	}
	for at < whole {
		end := at + bytes.IndexByte(b[at:whole], '\n') + 1
		if set.begins(b[at:end-1], lines) || end-begin > s.rules.max {
			complete()
		}
		at = end
		lines++
	}
	if set.Start == nil || lines >= set.Lines || whole-begin+rest >= s.rules.max {
		complete()
	}
	if r.size, r.lines = whole-begin, lines; r.size > 0 {
		r.since.Store(max(1, s.shared.budget.now(now)))
	} else {
		r.since.Store(0)
	}
	return begin, len(r.ends)
}

// begins reports whether a line begins a record, behind one of a number of lines.
func (j Join) begins(line []byte, lines int) bool {
	return j.Start == nil || lines >= j.Lines || j.Start.Match(line)
}

// joins reports whether the stream joins lines, or has a record that it began when it did.
func (s *Stream) joins(set Join) bool {
	return (set.Start != nil || s.record.size > 0) && s.rules.inner() == framing.Newline
}

// pack returns a buffer of the records of b, which join has found. They are counted if one has
// several lines.
func (s *Stream) pack(b *linebuf.Buffer) *linebuf.Buffer {
	r := &s.record
	b.Lines = len(r.ends)
	if !r.multi {
		return b
	}
	packed := s.shared.pool.MustGet(len(b.B) + b.Lines*framing.HeaderSize(len(b.B)))
	at := 0
	for _, end := range r.ends {
		line := b.B[at : end-1]
		if len(line) == 0 {
			line = b.B[at:end] // a count is at least 1
		}
		packed.B = append(framing.AppendHeader(packed.B, len(line)), line...)
		at = end
	}
	packed.Lines, packed.Read, packed.Framing = b.Lines, b.Read, framing.Octet
	s.shared.pool.Put(b)
	return packed
}

// Late reports whether the unfinished record has waited for its next line for longer than a time.
// It may be called by any goroutine.
func (s *Stream) Late(now time.Time, wait time.Duration) bool {
	since := s.record.since.Load()
	return since > 0 && s.shared.budget.now(now)-since > int64(wait)
}

// Complete ends the unfinished record, if there is one, and returns its buffer, which the caller
// owns. A line that is not finished stays.
func (s *Stream) Complete(now time.Time) *linebuf.Buffer {
	if s.record.size == 0 {
		return nil
	}
	s.join(Join{}, s.record.size, 0, now)
	return s.takeRecords(s.record.ends[0], now)
}

// takeRecords returns a buffer with the records at the front of the stream's, which join has found.
func (s *Stream) takeRecords(size int, now time.Time) *linebuf.Buffer {
	b := s.separate(size)
	b.Read = now
	b = s.pack(b)
	s.discharge()
	return b
}

// lastRecords is Last where lines are joined: the last line has got its newline.
func (s *Stream) lastRecords(now time.Time) *linebuf.Buffer {
	whole := s.Carried()
	if size, _ := s.join(s.record.set, whole, 0, now); size < whole { // the last one is complete, too
		s.record.ends = append(s.record.ends, whole)
		s.record.multi = s.record.multi || s.record.lines > 1
		s.forgetRecord()
	}
	return s.takeRecords(whole, now)
}

// forgetRecord notes that the unfinished record has left the stream.
func (s *Stream) forgetRecord() {
	s.record.size, s.record.lines = 0, 0
	s.record.since.Store(0)
}

// Unfinished returns the length of the unfinished line, without the record that it may belong to.
func (s *Stream) Unfinished() int { return s.Carried() - s.record.size }
