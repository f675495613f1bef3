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
// record begins with each line that matches an expression, and is complete when the next one begins
// or a bound is reached. Until then it stays in the stream's buffer, before the unfinished line.

// Join has the settings for joining lines. With the zero value lines are not joined.
type Join struct {
	Start *regexp.Regexp // matches the first line of each record, without its newline; nil: no joining
	Lines int            // the most lines of a record
}

// record is the unfinished record of a stream, and the result of join.
type record struct {
	size  int          // bytes of its whole lines with their newlines, at the front of the buffer
	lines int          // number of these lines
	set   Join         // as of the last read
	ends  []int        // offsets in the buffer at which the records end that join has completed
	multi bool         // one of the completed records has several lines
	since atomic.Int64 // time of the last line, in the form of budget.now; 0 without lines
}

// join adds the whole lines b[record.size:whole] to the record. rest bytes of an unfinished line
// follow them. It returns the length and the number of the records that are complete.
//
// A record is also complete when it has as many lines as allowed, or when the next line, even an
// unfinished one, would make it longer than the longest line.
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

// begins reports whether line begins a record, where the record before has the given number of
// lines.
func (j Join) begins(line []byte, lines int) bool {
	return j.Start == nil || lines >= j.Lines || j.Start.Match(line)
}

// joins reports whether the stream joins lines, or still has a record from when it did.
func (s *Stream) joins(set Join) bool {
	return (set.Start != nil || s.record.size > 0) && s.rules.inner() == framing.Newline
}

// pack returns a buffer of the records in b that join has completed. If one of them has several
// lines, the buffer has octet counting.
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

// Late reports whether the unfinished record has waited for its next line for longer than wait. Any
// goroutine may call it.
func (s *Stream) Late(now time.Time, wait time.Duration) bool {
	since := s.record.since.Load()
	return since > 0 && s.shared.budget.now(now)-since > int64(wait)
}

// Complete ends the unfinished record and returns its buffer, which the caller owns, or nil if
// there is no record. An unfinished line stays in the stream.
func (s *Stream) Complete(now time.Time) *linebuf.Buffer {
	if s.record.size == 0 {
		return nil
	}
	s.join(Join{}, s.record.size, 0, now)
	return s.takeRecords(s.record.ends[0], now)
}

// takeRecords takes the records that join has completed, size bytes at the front of the stream's
// buffer, and returns a buffer of them.
func (s *Stream) takeRecords(size int, now time.Time) *linebuf.Buffer {
	b := s.separate(size)
	b.Read = now
	b = s.pack(b)
	s.discharge()
	return b
}

// lastRecords is Last for a stream that joins lines. The last line has got its newline already.
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
