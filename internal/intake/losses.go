package intake

import "linesplit/linebuf"

// Reason is the reason why a line was not delivered, or not whole.
type Reason uint8

const (
	ReasonOversize  Reason = iota // the line was longer than the maximum
	ReasonClosed                  // read after a line for which Close has closed the connection
	ReasonTorn                    // the connection broke in mid-line
	ReasonMemory                  // unfinished lines took too much memory
	ReasonTruncated               // bytes that were cut off a line that was delivered
	ReasonShutdown                // the driver could not hand over the line in time
	ReasonKeyless                 // the driver found no key in the line
	ReasonFraming                 // no count was where one has to be
	NumReasons                    // number of reasons
)

var reasonNames = [NumReasons]string{"oversize", "closed", "torn", "memory", "truncated", "shutdown", "keyless", "framing"}

// String returns the reason as metrics and the log name it.
func (r Reason) String() string { return reasonNames[r] }

// Losses counts lines and bytes that a Stream has not delivered, by reason.
type Losses struct {
	Dropped   [NumReasons]linebuf.Count
	Truncated uint64 // lines that were delivered, but not whole
	MaxLine   int    // the limit that applied to them, in bytes
}

// Lines returns the number of lines dropped.
func (l *Losses) Lines() (n uint64) {
	for _, d := range l.Dropped {
		n += d.Lines
	}
	return n
}
