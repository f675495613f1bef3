package intake

import (
	"bytes"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// rules decides which bytes of one connection are delivered. It holds no bytes of lines: of the
// unfinished line it knows only whether to skip the rest.
//
// This file has the rules for lines that end in a delimiter, a newline or a NUL byte; octets.go has
// those for octet counting.
type rules struct {
	max      int // longest line with its delimiter or its count, in bytes
	policy   Oversize
	framing  framing.Framing // Auto until the first bytes decide; see detect
	skipping bool            // the rest of the unfinished line is skipped
	why      Reason          // the reason for skipping
	octets   octets
}

// apply is cut for any framing, which it detects if it has to. The limits apply to the lines that
// begin in b[from:].
func (l *rules) apply(set Limits, b []byte, from int) cut {
	if l.framing == framing.Auto {
		l.detect(b, from)
	}
	switch {
	case l.framing == framing.Octet:
		return l.cutOctets(set, b, from)
	case set.MaxLine != l.max || set.Policy != l.policy:
		return l.change(set.MaxLine, set.Policy, b, from)
	}
	return l.cut(b, from)
}

// cut is the result of applying rules to a buffer b: b[:whole] has whole lines to deliver,
// b[whole:whole+rest] is the start of a line, and the bytes after that are no longer used.
type cut struct {
	whole, lines, rest int // bytes, number of lines, bytes
	dropped            [NumReasons]linebuf.Count
	lossy              bool   // dropped is not zero
	ended              bool   // a line has ended, whether it is delivered or not
	truncated          uint64 // number of lines that were truncated
	close              bool   // close the connection
	uncounted          bool   // close it because there is no count where one has to be
}

// drop counts lines and bytes as dropped.
func (r *cut) drop(why Reason, lines, bytes int) {
	r.dropped[why].Add(linebuf.Count{Lines: uint64(lines), Bytes: uint64(bytes)})
	r.lossy = true
}

// cut applies the rules to b, where b[:from] is the unfinished line, without a delimiter, and
// b[from:] is new. It moves bytes within b to close the gaps that dropped lines leave.
//
// An unfinished line of max bytes is too long already, whatever follows. So the rest is always
// shorter than max, and the delimiter that Last adds never makes it too long.
func (l *rules) cut(b []byte, from int) (r cut) {
	if l.skipping {
		b, from = l.skip(b, &r), 0
	}
	r.whole = from + bytes.LastIndexByte(b[from:], l.framing.Delimiter()) + 1
	if r.whole > from {
		r.ended = true
	} else { // no delimiter in the new bytes, and none in the old ones
		r.whole = 0
	}
	r.rest = len(b) - r.whole
	if r.whole <= l.max {
		r.lines = l.framing.Count(b[min(from, r.whole):r.whole])
	} else {
		l.screen(b, &r)
	}
	if r.rest >= l.max {
		l.cutRest(b, &r)
	}
	return r
}

// change is cut with new limits for the lines that begin in b[from:]. A line that began before,
// kept or skipped, keeps the old limits; they stay in force until it has ended.
func (l *rules) change(max int, policy Oversize, b []byte, from int) (r cut) {
	end := 0
	if from > 0 || l.skipping {
		end = from + bytes.IndexByte(b[from:], l.framing.Delimiter()) + 1
		if end == from {
			return l.cut(b, from)
		}
		if r = l.cut(b[:end], from); r.close {
			l.closeBefore(b[end:], &r)
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

// skip removes the rest of the line that is being skipped from the front of b.
func (l *rules) skip(b []byte, r *cut) []byte {
	end := bytes.IndexByte(b, l.framing.Delimiter()) + 1
	n := end
	switch {
	case end == 0:
		end, n = len(b), len(b)
	case l.why == ReasonTruncated:
		n-- // truncate has delivered the delimiter, so it is not dropped
		fallthrough
	default:
		l.skipping, r.ended = false, true
	}
	r.drop(l.why, 0, n)
	return b[:copy(b, b[end:])]
}

// screen applies the policy to each whole line that is too long, and closes the gaps that dropped
// lines leave.
func (l *rules) screen(b []byte, r *cut) {
	whole, kept := r.whole, 0
	for at := 0; at < whole; {
		n := bytes.IndexByte(b[at:whole], l.framing.Delimiter()) + 1
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

// cutRest applies the policy to an unfinished line that is too long already.
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
// delimiter.
func (l *rules) truncate(b []byte, to, at int, r *cut) int {
	to += copy(b[to:], b[at:at+l.max-1])
	b[to] = l.framing.Delimiter()
	r.lines++
	r.truncated++
	return to + 1
}

// refuse drops the line at the start of b, which is too long, and all of b behind it, and closes
// the connection.
func (l *rules) refuse(b []byte, r *cut) {
	end := bytes.IndexByte(b, l.framing.Delimiter()) + 1
	if end == 0 {
		end = len(b)
	}
	r.drop(ReasonOversize, 1, end)
	l.closeBefore(b[end:], r)
}

// closeBefore closes the connection and drops b, which was read behind a line that is too long.
func (l *rules) closeBefore(b []byte, r *cut) {
	r.close = true
	if len(b) == 0 {
		return
	}
	lines := l.framing.Count(b)
	if l.framing.Start(b, len(b)) < len(b) {
		lines++
	}
	r.drop(ReasonClosed, lines, len(b))
}

// abandon drops the unfinished line, of which b has come, and skips the rest of it.
func (l *rules) abandon(why Reason, b []byte) (r cut) {
	r.drop(why, 1, len(b))
	l.skipping, l.why = true, why
	l.octets.abandon(l, b)
	return r
}
