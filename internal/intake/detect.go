package intake

import (
	"bytes"

	"linesplit/internal/framing"
)

// detect decides the framing of a stream by its first bytes, b, of which b[:from] was there before.
// A stream that begins with a count, a space and "<" is syslog with octet counting. Otherwise the
// first newline or NUL byte decides. A stream with neither in its first max bytes has lines that
// end in newlines.
func (l *rules) detect(b []byte, from int) {
	begin := b
	if o := &l.octets; l.skipping { // the first bytes were dropped; o.head has them
		begin = append(o.head[:o.n:o.n], b[:min(len(b), len(o.head)-o.n)]...)
	}
	switch framing.Detect(begin) {
	case framing.Counted:
		l.framing = framing.Octet
		return
	case framing.Undecided:
		if len(b) < l.max {
			l.keepHead(begin)
			return
		}
	}
	l.octets.n = 0
	first := b[min(from, l.max):min(len(b), l.max)]
	end := bytes.IndexByte(first, '\n')
	if end >= 0 {
		first = first[:end]
	}
	switch {
	case bytes.IndexByte(first, 0) >= 0:
		l.framing = framing.NUL
	case end >= 0 || len(b) >= l.max || l.skipping:
		l.framing = framing.Newline
	}
}

// inner returns the framing of whole lines; while nothing has decided, they end in newlines.
func (l *rules) inner() framing.Framing {
	if l.framing == framing.Auto {
		return framing.Newline
	}
	return l.framing
}

// keepHead keeps the first bytes of a stream if they are being dropped, for the next detect.
func (l *rules) keepHead(b []byte) {
	if l.skipping {
		l.octets.n = copy(l.octets.head[:], b)
	}
}
