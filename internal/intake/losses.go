package intake

import "linesplit/linebuf"

// Reason says why a line was not delivered, or not whole.
type Reason uint8

const (
	ReasonOversize  Reason = iota // longer than the maximum
	ReasonClosed                  // read behind a line for which Close has closed the connection
	ReasonTorn                    // the connection broke in mid-line
	ReasonMemory                  // unfinished lines took too much memory
	ReasonTruncated               // bytes cut off a line that was delivered
	ReasonShutdown                // the driver could not hand the line over in time
	ReasonKeyless                 // the driver found no key in the line
	ReasonFraming                 // no count was where one had to be
	NumReasons
)

var reasonNames = [NumReasons]string{"oversize", "closed", "torn", "memory", "truncated", "shutdown", "keyless", "framing"}

// String returns the reason as metrics and the log name it.
func (r Reason) String() string { return reasonNames[r] }

// Losses counts lines and bytes that a Stream has not delivered, by reason.
type Losses struct {
	Dropped   [NumReasons]linebuf.Count
	Truncated uint64 // lines that were delivered, but not whole
	MaxLine   int    // by which they were measured
}

// Lines returns the number of lines dropped.
func (l *Losses) Lines() (n uint64) {
	for _, d := range l.Dropped {
		n += d.Lines
	}
	return n
}
