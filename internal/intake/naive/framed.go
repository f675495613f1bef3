package naive

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// CutFramed is Cut for a stream of any framing. It returns the framing of the lines in Out: f, or,
// for Auto, the framing that it has detected.
func CutFramed(in []byte, f framing.Framing, maxLine int, policy string) (Result, framing.Framing) {
	if f == framing.Auto {
		f = detect(in, maxLine)
	}
	switch f {
	case framing.Octet:
		return cutCounted(in, maxLine, policy), f
	case framing.NUL:
		return cutDelimited(in, "\x00", maxLine, policy), f
	}
	return Cut(in, maxLine, policy), f
}

var syslog = regexp.MustCompile(`^[1-9][0-9]{0,9} <`)

// detect returns the framing of a stream.
func detect(in []byte, maxLine int) framing.Framing {
	if syslog.Match(in) {
		return framing.Octet
	}
	in = in[:min(len(in), maxLine)]
	if end := bytes.IndexAny(in, "\n\x00"); end >= 0 && in[end] == 0 {
		return framing.NUL
	}
	return framing.Newline
}

var header = regexp.MustCompile(`^([1-9][0-9]{0,9}) `)

// unfinishedHeader matches the end of a stream within a header.
var unfinishedHeader = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)

// cutCounted is Cut for octet counting. A line that is unfinished at the end of the stream is torn.
func cutCounted(in []byte, maxLine int, policy string) (r Result) {
	for len(in) > 0 {
		found := header.FindSubmatch(in)
		if found == nil {
			if unfinishedHeader.Match(in) {
				r.Torn = len(in)
			} else {
				r.Closed, r.Uncounted = true, true
			}
			return r
		}
		count, _ := strconv.Atoi(string(found[1]))
		whole := len(found[0]) + count
		come := min(whole, len(in))
		switch {
		case whole <= maxLine && come < whole:
			r.Torn = come
		case whole <= maxLine:
			r.Out += string(in[:whole])
			r.Lines++
		case policy == "drop":
			r.Oversize.Add(linebuf.Count{Lines: 1, Bytes: uint64(come)})
		case policy == "truncate":
			r.truncateCounted(in[:come], len(found[0]), maxLine)
		case policy == "close":
			r.Closed = true
			return r
		}
		in = in[come:]
	}
	return r
}

// truncateCounted truncates a line that is too long and has a header of head bytes. b is the part
// of the line that has come.
func (r *Result) truncateCounted(b []byte, head, maxLine int) {
	kept := maxLine - len(strconv.Itoa(maxLine)) - 1
	shorter := fmt.Sprintf("%d ", kept)
	if len(b)-head < kept {
		r.Torn = len(shorter) + len(b) - head
		r.CutOff += uint64(head - len(shorter))
		return
	}
	line := shorter + string(b[head:head+kept])
	r.Out += line
	r.Lines++
	r.Truncated++
	r.CutOff += uint64(len(b) - len(line))
}
