package splitter

import (
	"regexp"
	"time"

	"linesplit/internal/clientlimit"
)

// Tuning holds the settings that may change while a Splitter runs. The zero value of each field
// means its default.
type Tuning struct {
	// MaxLine is the maximum length of a line with its newline, in bytes: 1 MiB.
	MaxLine int
	// Oversize is the policy for longer lines: Drop.
	Oversize Oversize
	// MaxConnections is the maximum number of senders served at once: 0 for no limit. At the limit
	// nothing is accepted, so that further senders wait in the backlog. With n listeners it may be
	// exceeded by n-1.
	MaxConnections int
	// PerClient limits the senders of one IP address. Those over a limit are reset.
	PerClient clientlimit.Limits
	// IdleTimeout ends a connection of which nothing has come for this long: 0 for never. Its
	// unfinished line is dropped as torn. Here and for LineTimeout, times in which linesplit itself
	// held up the connection do not count, and neither applies to stdin or UDP.
	IdleTimeout time.Duration
	// LineTimeout ends a connection with a line that is not finished this long after its first
	// byte: 0 for never.
	LineTimeout time.Duration
	// RecordStart matches the first line of each record of several lines: the lines up to the next
	// such line are joined. nil: each line is a record. UDP lines are not joined, nor are those of
	// listeners that have another framing than lines.
	RecordStart *regexp.Regexp
	// RecordLines is the most lines of a record: 1000. It has at most MaxLine bytes, too.
	RecordLines int
	// RecordWait is the time after which a record ends if its next line has not come: 1 s.
	RecordWait time.Duration
	// Drain is the time that senders may go on writing after soft has ended. 0 cuts them off at
	// once.
	Drain time.Duration
}

const (
	defaultMaxLine     = 1 << 20
	defaultRecordLines = 1000
	defaultRecordWait  = time.Second
)

func (t Tuning) withDefaults() Tuning {
	if t.MaxLine < 1 {
		t.MaxLine = defaultMaxLine
	}
	if t.RecordLines < 1 {
		t.RecordLines = defaultRecordLines
	}
	if t.RecordWait <= 0 {
		t.RecordWait = defaultRecordWait
	}
	return t
}

// Tune replaces all settings that may change. It ends no connection and loses no line: MaxLine and
// Oversize apply to lines of which nothing has been read yet, and if there are more connections
// than MaxConnections, none is accepted until enough have ended. A drain that has begun keeps its
// end. The relation between MaxLine and the pool's budget that New requires applies here, too.
func (s *Splitter) Tune(t Tuning) {
	t = t.withDefaults()
	s.tuning.Store(&t)
	s.streams.SetMaxLine(t.MaxLine)
	news := make(chan struct{})
	if old := s.news.Swap(&news); old != nil {
		close(*old)
	}
	s.registry.wake()
}

// tuned returns the settings in force. They are never modified in place.
func (s *Splitter) tuned() *Tuning { return s.tuning.Load() }
