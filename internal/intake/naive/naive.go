// Package naive has the rules of package intake in their simplest form, for tests: its functions
// take the whole stream of a sender, and go line by line.
package naive

import (
	"bytes"
	"fmt"

	"linesplit/linebuf"
)

// Result is the outcome of a stream.
type Result struct {
	Out       string        // all lines that are delivered
	Lines     int           // number of lines in Out
	Oversize  linebuf.Count // lines that were dropped because of their length
	CutOff    uint64        // bytes that were cut off truncated lines
	Truncated uint64        // number of truncated lines
	Closed    bool          // the connection is closed at a line that is too long, or at Uncounted
	Uncounted bool          // no count is where one has to be
	Torn      int           // bytes of a counted line that did not come whole
}

// Cut applies the policy with the given name to a stream of lines that ends cleanly. It does not
// count the lines that are dropped when the connection is closed, since they depend on the reads.
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
