package intake

import "linesplit/internal/framing"

// This file has the rules for octet counting: each line begins with a header, the number of its
// bytes and a space. Buffers of whole lines keep the headers.

// minCounted is the lowest limit for a counted line, in bytes, so that a header and some bytes fit.
const minCounted = 16

// octets is the state of rules for octet counting.
type octets struct {
	left int64 // bytes of the line that is being skipped that have yet to come
	tail int64 // bytes to skip behind the unfinished line, which is being truncated
	// head[:n] is the beginning of the header of a line that is being skipped. While the framing is
	// Auto, it is the first bytes of the stream, if these were dropped before they told the
	// framing.
	head [framing.MaxHeader + 1]byte
	n    int
}

// cutOctets is cut for counted lines. The limits apply to lines that begin in b[from:].
func (l *rules) cutOctets(set Limits, b []byte, from int) (r cut) {
	at := 0
	if l.skipping {
		at, from = l.skipOctets(b, &r), 0
	}
	for at < len(b) && !r.close {
		if at >= from && l.octets.tail == 0 {
			l.max, l.policy = max(set.MaxLine, minCounted), set.Policy
		}
		head, count := framing.Header(b[at:])
		switch size := int64(head) + count; {
		case head < 0:
			l.refuseUncounted(b[at:], &r)
		case head > 0 && size > int64(l.max) && l.octets.tail == 0:
			at = l.cutOversized(b, at, head, count, &r)
		case head == 0 || size > int64(len(b)-at):
			r.rest = copy(b[r.whole:], b[at:])
			return r
		default:
			r.whole += moveDown(b, r.whole, at, int(size))
			r.lines++
			r.ended = r.ended || l.octets.tail == 0
			at = l.skipTail(b, at+int(size), &r)
		}
	}
	return r
}

// moveDown moves size bytes at b[at:] to b[to:] and returns their number.
func moveDown(b []byte, to, at, size int) int {
	if to != at {
		copy(b[to:], b[at:at+size])
	}
	return size
}

// cutOversized applies the policy to the line at b[at:], which is too long and has a header of head
// bytes. It returns the offset in b at which cutOctets goes on.
func (l *rules) cutOversized(b []byte, at, head int, count int64, r *cut) int {
	switch l.policy {
	case Truncate: // a shorter header takes the place of the end of the old one
		kept := l.max - framing.HeaderSize(l.max)
		gap := head - framing.HeaderSize(kept)
		framing.AppendHeader(b[at+gap:at+gap], kept)
		r.drop(ReasonTruncated, 0, gap)
		l.octets.tail = count - int64(kept)
		return at + gap
	case Close:
		end := at + int(min(int64(len(b)-at), int64(head)+count))
		r.drop(ReasonOversize, 1, end-at)
		l.closeBefore(b[end:], r)
		return len(b)
	}
	r.dropped[ReasonOversize].Lines++
	l.octets.left = int64(head) + count
	return at + l.skipLeft(b[at:], ReasonOversize, r)
}

// skipTail skips the rest of a line that has been truncated, which begins at b[at:]. It returns the
// offset behind it.
func (l *rules) skipTail(b []byte, at int, r *cut) int {
	if l.octets.tail == 0 {
		return at
	}
	l.octets.left, l.octets.tail = l.octets.tail, 0
	r.truncated++
	return at + l.skipLeft(b[at:], ReasonTruncated, r)
}

// skipLeft skips octets.left bytes, for the reason why, and returns how many of them are in b.
func (l *rules) skipLeft(b []byte, why Reason, r *cut) int {
	n := int(min(int64(len(b)), l.octets.left))
	r.drop(why, 0, n)
	l.octets.left -= int64(n)
	l.skipping, l.why = l.octets.left > 0, why
	r.ended = r.ended || !l.skipping
	return n
}

// skipOctets skips the part of b that belongs to the line that is being skipped, and returns its
// length.
func (l *rules) skipOctets(b []byte, r *cut) (at int) {
	o := &l.octets
	for o.n > 0 {
		head, count := framing.Header(o.head[:o.n])
		switch {
		case head > 0:
			o.left, o.n = int64(head)+count-int64(o.n), 0
		case head < 0:
			l.refuseUncounted(b, r)
			return len(b)
		case at == len(b):
			r.drop(l.why, 0, at)
			return at
		default:
			o.head[o.n] = b[at]
			o.n++
			at++
		}
	}
	r.drop(l.why, 0, at)
	return at + l.skipLeft(b[at:], l.why, r)
}

// refuseUncounted drops b, which has no header where one has to be, and closes the connection:
// nothing tells where the next line begins.
func (l *rules) refuseUncounted(b []byte, r *cut) {
	r.close, r.uncounted = true, true
	r.drop(ReasonFraming, 1, len(b))
}

// abandon notes the rest of the unfinished line, of which b has come, as bytes to skip.
func (o *octets) abandon(l *rules, b []byte) {
	switch l.framing {
	case framing.Auto:
		if framing.Detect(b) == framing.Undecided {
			o.n = copy(o.head[:], b)
		} else {
			l.framing = framing.Newline
		}
	case framing.Octet:
		if head, count := framing.Header(b); head > 0 {
			o.left = int64(head) + count - int64(len(b)) + o.tail
		} else {
			o.n = copy(o.head[:], b)
		}
		o.tail = 0
	}
}
