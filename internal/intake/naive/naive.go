// Package naive has the rules for lines in their simplest form, for tests: it has the whole stream
// of a sender, and goes line by line.
package naive

import (
	"bytes"
	"fmt"

	"linesplit/linebuf"
)

// Result is the outcome of a stream.
type Result struct {
	Out       string // all lines that are delivered
	Lines     int    // in Out
	Oversize  linebuf.Count
	CutOff    uint64 // bytes that truncation has cut off
	Truncated uint64 // lines that it has cut
	Closed    bool   // the sender is closed at a line that is too long, or Uncounted
	Uncounted bool   // since no count is where one has to be
	Torn      int    // bytes of a counted line that did not come whole
}

// Cut applies the policy of the given name to a stream of lines that ends in order. Of a stream
// that is closed it does not count what is dropped, which depends on the reads.
func Cut(in []byte, maxLine int, policy string) Result {
	return cutDelimited(in, "\n", maxLine, policy)
}

func cutDelimited(in []byte, delimiter string, maxLine int, policy string) (r Result) {
	for len(in) > 0 {
		line, rest, found := bytes.Cut(in, []byte(delimiter))
		whole := len(line) + 1 // a delimiter is added to the last line
		switch {
		case whole <= maxLine:
			r.Out += string(line) + delimiter
			r.Lines++
		case policy == "drop":
			r.Oversize.Add(linebuf.Count{Lines: 1, Bytes: uint64(len(in) - len(rest))})
		case policy == "truncate":
			r.Out += string(line[:maxLine-1]) + delimiter
			r.Lines++
			r.Truncated++
			r.CutOff += uint64(whole - maxLine)
		case policy == "close":
			r.Closed = true
			return r
		default:
			panic(fmt.Sprintf("no policy %q", policy))
		}
		if !found {
			break
		}
		in = rest
	}
	return r
}
