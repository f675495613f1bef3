package send

import (
	"bytes"
	"context"
	"time"

	"linesplit/internal/simulate/record"
)

// batchSize is the number of bytes that are written at once, unless a single line is longer.
const batchSize = 64 << 10

// defaultMaxRecord is the longest record, in bytes, if its length is not given.
const defaultMaxRecord = 2 << 10

// sender composes the lines of a client. It belongs to one client at a time. The next client
// continues with its numbers, and with lines that were composed but could not be sent.
type sender struct {
	id        uint32
	sent      uint64            // whole lines that the kernel has accepted
	gen       *record.Generator // makes its records; nil with input
	maxRecord int               // longest record in bytes
	input     *source           // source of lines in place of gen; may be nil. Not owned

	batch    []byte // whole lines
	wholeEnd int    // end of the last line that was accepted whole
	taken    int    // end of the bytes that were accepted; beyond wholeEnd in the middle of a line
	lines    int    // lines in batch[wholeEnd:]
}

func newSender(id uint32, length record.Length, input *source) *sender {
	s := &sender{id: id, input: input, maxRecord: length.Max}
	if length.Max == 0 {
		s.maxRecord = defaultMaxRecord
	}
	if input == nil {
		s.gen = record.NewGenerator(id, length)
	}
	return s
}

// fill makes sure that there is a line to send. If there is none, it composes up to n. It returns
// false if there are no more lines or ctx has ended.
func (s *sender) fill(ctx context.Context, n int) bool {
	if s.lines > 0 {
		return true
	}
	s.batch, s.wholeEnd, s.taken = s.batch[:0], 0, 0
	if s.input != nil {
		s.batch, s.lines = s.input.take(ctx, s.batch, n)
		return s.lines > 0
	}
	now := time.Now()
	for s.lines < n && (s.lines == 0 || len(s.batch)+s.maxRecord <= batchSize) {
		s.batch = s.gen.Append(s.batch, now)
		s.lines++
	}
	return true
}

// next returns the bytes of the next n lines, or of all remaining ones if there are fewer.
func (s *sender) next(n int) []byte {
	rest := s.batch[s.taken:]
	if n >= s.lines {
		return rest
	}
	return rest[:lengthOf(rest, n)]
}

// lengthOf returns how many bytes the first n lines of b have. There must be as many.
func lengthOf(b []byte, n int) (length int) {
	for range n {
		length += bytes.IndexByte(b[length:], '\n') + 1
	}
	return length
}

// advance records that the kernel has accepted n more bytes. It returns how many lines that
// completes, and their bytes.
func (s *sender) advance(n int) (lines, size int) {
	s.taken += n
	if s.taken == len(s.batch) {
		lines, size = s.lines, s.taken-s.wholeEnd
	} else {
		size = bytes.LastIndexByte(s.batch[s.wholeEnd:s.taken], '\n') + 1
		lines = bytes.Count(s.batch[s.wholeEnd:s.wholeEnd+size], []byte{'\n'})
	}
	s.wholeEnd += size
	s.lines -= lines
	s.sent += uint64(lines)
	return lines, size
}

// midLine reports whether the connection has got part of a line.
func (s *sender) midLine() bool { return s.taken > s.wholeEnd }

// rewind goes back to the beginning of a line that was not accepted whole, so that the next
// connection gets all of it.
func (s *sender) rewind() { s.taken = s.wholeEnd }
