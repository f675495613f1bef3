//go:build linux

package load

import (
	"fmt"
	"strings"
)

// Transfer says what a transfer moves.
type Transfer struct {
	Senders, Targets int
	Line             int   // bytes
	Bytes            int64 // whole lines
	Verify           bool  // look at every line; costs the sink time
}

// Lessen returns a spec that moves so many bytes, rounded down to whole lines.
func (s Transfer) Lessen(bytes int64) Transfer {
	s.Bytes = wholeLines(bytes, s.Line)
	return s
}

// wholeLines rounds bytes down to whole lines.
func wholeLines(bytes int64, line int) int64 { return bytes - bytes%int64(line) }

// CheckTotal holds against the sink that it has all bytes, no byte twice, and only whole lines if it looked at them.
func CheckTotal(sink *Child, spec Transfer) error {
	fields, err := sink.Ask("total", "total")
	if err != nil {
		return err
	}
	var bytes, lines, odd int64
	if _, err := fmt.Sscan(strings.Join(fields, " "), &bytes, &lines, &odd); err != nil {
		return err
	}
	if bytes != spec.Bytes {
		return fmt.Errorf("%d bytes sent, %d arrived", spec.Bytes, bytes)
	}
	if want := spec.Bytes / int64(spec.Line); spec.Verify && (lines != want || odd != 0) {
		return fmt.Errorf("%d lines sent, %d arrived, %d of them not as they were sent", want, lines, odd)
	}
	return nil
}
