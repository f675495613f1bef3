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
	Verify           bool  // check every line, which costs the sink time
}

// WithBytes returns a copy that moves a number of bytes, rounded down to whole lines.
func (t Transfer) WithBytes(bytes int64) Transfer {
	t.Bytes = bytes - bytes%int64(t.Line)
	return t
}

// CheckTotal asks a sink for its counters and returns an error if bytes are missing or duplicate,
// or if the sink verified the lines and found some altered.
func CheckTotal(sink *Child, t Transfer) error {
	fields, err := sink.Ask("total", "total")
	if err != nil {
		return err
	}
	var bytes, lines, altered int64
	if _, err := fmt.Sscan(strings.Join(fields, " "), &bytes, &lines, &altered); err != nil {
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
