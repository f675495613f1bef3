//go:build linux

package load

import (
	"fmt"
	"strings"
)

// Transfer describes the lines that a run moves from senders to sinks.
type Transfer struct {
	Senders, Targets int
	Line             int   // bytes
	Bytes            int64 // whole lines
	First            int64 // bytes after which the meters are read in between; 0 for not at all
	Verify           bool  // check every line, which costs the sink time
}

// WithBytes returns a copy that moves a number of bytes, rounded down to whole lines. Its First is
// 0 if the bytes are no more than that.
func (t Transfer) WithBytes(bytes int64) Transfer {
	t.Bytes = bytes - bytes%int64(t.Line)
	if t.First >= t.Bytes {
		t.First = 0
	}
	return t
}

// Received asks a sink for the number of bytes so far.
func Received(sink *Child) (bytes int64, err error) {
	bytes, _, _, err = totals(sink)
	return bytes, err
}

// totals asks a sink for its counters.
func totals(sink *Child) (bytes, lines, altered int64, err error) {
	fields, err := sink.Ask("total", "total")
	if err != nil {
		return 0, 0, 0, err
	}
	_, err = fmt.Sscan(strings.Join(fields, " "), &bytes, &lines, &altered)
	return bytes, lines, altered, err
}

// CheckTotal asks a sink for its counters and returns an error if bytes are missing or duplicate,
// or if the sink verified the lines and found some altered.
func CheckTotal(sink *Child, t Transfer) error {
	bytes, lines, altered, err := totals(sink)
	if err != nil {
		return err
	}
	if bytes != t.Bytes {
		return fmt.Errorf("%d bytes sent, %d arrived", t.Bytes, bytes)
	}
	if want := t.Bytes / int64(t.Line); t.Verify && (lines != want || altered != 0) {
		return fmt.Errorf("%d lines sent, %d arrived, %d of them not as they were sent", want, lines, altered)
	}
	return nil
}
