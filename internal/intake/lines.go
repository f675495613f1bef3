package intake

import (
	"bytes"

	"linesplit/linebuf"
)

// rules decides which bytes of one connection are delivered. Of a line it remembers only
// whether to skip the rest.
type rules struct {
	max      int // length of a line with its newline, in bytes
	policy   Oversize
	skipping bool   // skip up to the next newline
	why      Reason // for skipping
}

// cut is the result of applying rules to a buffer b: b[:whole] is to be delivered,
// b[whole:whole+rest] is the start of a line, and the bytes after that are no longer used.
type cut struct {
	whole, lines, rest int
	dropped            [NumReasons]linebuf.Count
	lossy              bool // dropped is not zero
	ended              bool // a line has ended, whether it is delivered or not
	truncated          uint64
	close              bool // close the connection
}

func (r *cut) drop(why Reason, lines, bytes int) {
	r.dropped[why].Add(linebuf.Count{Lines: uint64(lines), Bytes: uint64(bytes)})
	r.lossy = true
}

// cut applies the rules to b, where b[:from] is the start of a line that had been carried over (no
// newline in it) and b[from:] is new. It moves bytes within b to close the gaps that dropped lines
// leave.
//
// An unfinished line as long as max is too long already, whatever follows. So the rest is always
// shorter than max, and a newline added to it at the end of the stream never makes it too long.
func (l *rules) cut(b []byte, from int) (r cut) {
	if l.skipping {
		b, from = l.skip(b, &r), 0
	}
	r.whole = from + bytes.LastIndexByte(b[from:], '\n') + 1
	if r.whole > from {
		r.ended = true
	} else { // no newline in the new bytes, and none in the old ones
		r.whole = 0
	}
	r.rest = len(b) - r.whole
	if r.whole <= l.max {
		r.lines = bytes.Count(b[min(from, r.whole):r.whole], newline)
	} else {
		l.screen(b, &r)
	}
	if r.rest >= l.max {
		l.cutRest(b, &r)
	}
	return r
}

// change is cut with new rules for the lines that begin in b. A line that began before, carried or
// skipped, keeps its rules; if b does not end that line, the rules do not change yet.
func (l *rules) change(max int, policy Oversize, b []byte, from int) (r cut) {
	end := 0
	if from > 0 || l.skipping {
		end = from + bytes.IndexByte(b[from:], '\n') + 1
		if end == from {
			return l.cut(b, from)
		}
		if r = l.cut(b[:end], from); r.close {
			r.closeBefore(b[end:])
			return r
		}
	}
	l.max, l.policy = max, policy
	r.add(l.cut(b[end:], 0), b, end)
	return r
}

// add appends more, the result for b[at:], to r, the result for b[:at].
func (r *cut) add(more cut, b []byte, at int) {
	copy(b[r.whole:], b[at:at+more.whole+more.rest])
	r.whole += more.whole
	r.lines += more.lines
	r.rest = more.rest
	if more.lossy {
		r.lossy = true
		for why, n := range more.dropped {
			r.dropped[why].Add(n)
		}
	}
	r.ended = r.ended || more.ended
	r.truncated += more.truncated
	r.close = more.close
}

var newline = []byte{'\n'}

// skip removes the rest of the line that is being skipped from the front of b.
func (l *rules) skip(b []byte, r *cut) []byte {
	end := bytes.IndexByte(b, '\n') + 1
	n := end
	switch {
	case end == 0:
		end, n = len(b), len(b)
	case l.why == ReasonTruncated:
		n-- // truncate has delivered and counted the newline
		fallthrough
	default:
		l.skipping, r.ended = false, true
	}
	r.drop(l.why, 0, n)
	return b[:copy(b, b[end:])]
}

// screen checks the length of each whole line, and closes the gaps that dropped lines leave.
func (l *rules) screen(b []byte, r *cut) {
	whole, kept := r.whole, 0
	for at := 0; at < whole; {
		n := bytes.IndexByte(b[at:whole], '\n') + 1
		switch {
		case n <= l.max:
			kept += copy(b[kept:], b[at:at+n])
			r.lines++
		case l.policy == Truncate:
			kept = l.truncate(b, kept, at, r)
			r.drop(ReasonTruncated, 0, n-l.max)
		case l.policy == Close:
			l.refuse(b[at:whole+r.rest], r)
			r.whole, r.rest = kept, 0
			return
		default:
			r.drop(ReasonOversize, 1, n)
		}
		at += n
	}
	r.rest = copy(b[kept:], b[whole:whole+r.rest])
	r.whole = kept
}

// cutRest handles an unfinished line that is too long already.
func (l *rules) cutRest(b []byte, r *cut) {
	switch l.policy {
	case Truncate:
		r.drop(ReasonTruncated, 0, r.rest-(l.max-1))
		r.whole = l.truncate(b, r.whole, r.whole, r)
		l.skipping, l.why = true, ReasonTruncated
	case Close:
		l.refuse(b[r.whole:r.whole+r.rest], r)
	default:
		r.drop(ReasonOversize, 1, r.rest)
		l.skipping, l.why = true, ReasonOversize
	}
	r.rest = 0
}

// truncate moves the first max-1 bytes of the line at b[at:] to b[to:] and ends them with a
// newline.
func (l *rules) truncate(b []byte, to, at int, r *cut) int {
	to += copy(b[to:], b[at:at+l.max-1])
	b[to] = '\n'
	r.lines++
	r.truncated++
	return to + 1
}

// refuse drops the line at the start of b, which is too long, and closes the connection.
func (l *rules) refuse(b []byte, r *cut) {
	end := bytes.IndexByte(b, '\n') + 1
	if end == 0 {
		end = len(b)
	}
	r.drop(ReasonOversize, 1, end)
	r.closeBefore(b[end:])
}

// closeBefore closes the connection and drops b, what has been read behind a line that is too long.
func (r *cut) closeBefore(b []byte) {
	r.close = true
	if len(b) == 0 {
		return
	}
	lines := bytes.Count(b, newline)
	if b[len(b)-1] != '\n' {
		lines++
	}
	r.drop(ReasonClosed, lines, len(b))
}

// abandon drops an unfinished line of n bytes and skips the rest of it.
func (l *rules) abandon(why Reason, n int) (r cut) {
	r.drop(why, 1, n)
	l.skipping, l.why = true, why
	return r
}
