package send

import (
	"bytes"
	"context"
	"time"

	"linesplit/internal/simulate/record"
)

// batchSize is how many bytes are written at once, unless a single line is longer.
const batchSize = 64 << 10

// roomForOne is what a record may take whose length is not given.
const roomForOne = 2 << 10

// sender is who a client's lines are from. It belongs to one client at a time; the next one goes on with its numbers, and with the lines
// that a client before it composed and could not send.
type sender struct {
	id    uint32
	sent  uint64            // whole lines that the kernel has taken
	gen   *record.Generator // of what it sends
	room  int               // for one more record in the batch
	input *source           // where lines come from in place of gen; nil: none. Not owned

	batch []byte // whole lines
	whole int    // lines before it have been taken, up to their newlines
	at    int    // so have the bytes before it; beyond whole it is in the midst of a line
	lines int    // not taken yet, in batch[whole:]
}

func newSender(id uint32, length record.Length, input *source) *sender {
	s := &sender{id: id, input: input, room: length.Max}
	if length.Max == 0 {
		s.room = roomForOne
	}
	if input == nil {
		s.gen = record.NewGenerator(id, length)
	}
	return s
}

// fill makes sure that there is a line to send, and composes up to n if there is none. It is false when there are no more lines, or
// ctx has ended.
func (s *sender) fill(ctx context.Context, n int) bool {
	if s.lines > 0 {
		return true
	}
	s.batch, s.whole, s.at = s.batch[:0], 0, 0
	if s.input != nil {
		s.batch, s.lines = s.input.take(ctx, s.batch, n)
		return s.lines > 0
	}
	now := time.Now()
	for s.lines < n && (s.lines == 0 || len(s.batch)+s.room <= batchSize) {
		s.batch = s.gen.Append(s.batch, now)
		s.lines++
	}
	return true
}

// next returns the bytes of the next n lines, or of as many as there are.
func (s *sender) next(n int) []byte {
	rest := s.batch[s.at:]
	if n >= s.lines {
		return rest
	}
	return rest[:lengthOf(rest, n)]
}

// lengthOf returns how many bytes the first n lines of b have, which has as many.
func lengthOf(b []byte, n int) (length int) {
	for range n {
		length += bytes.IndexByte(b[length:], '\n') + 1
	}
	return length
}

// took notes that the kernel has taken n more bytes, and returns how many lines that completes and how many bytes these have.
func (s *sender) took(n int) (lines, size int) {
	s.at += n
	if s.at == len(s.batch) {
		lines, size = s.lines, s.at-s.whole
	} else {
		size = bytes.LastIndexByte(s.batch[s.whole:s.at], '\n') + 1
		lines = bytes.Count(s.batch[s.whole:s.whole+size], []byte{'\n'})
	}
	s.whole += size
	s.lines -= lines
	s.sent += uint64(lines)
	return lines, size
}

// midLine says whether the connection has got a part of a line.
func (s *sender) midLine() bool { return s.at > s.whole }

// rewind goes back to the beginning of a line that was not taken whole: the next connection gets all of it.
func (s *sender) rewind() { s.at = s.whole }
