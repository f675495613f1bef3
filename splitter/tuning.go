package splitter

import "time"

// Tuning holds the settings that may change while a Splitter runs. The zero value of each field means its default.
type Tuning struct {
	// MaxLine is the length of the longest line, with its newline, in bytes: 1 MiB.
	MaxLine int
	// Oversize says what becomes of longer ones: Drop.
	Oversize Oversize
	// MaxConnections is how many senders are served at once: 0 for any number. At the limit nothing is accepted,
	// so that further senders wait in the backlog. With n listeners it may be exceeded by n-1.
	MaxConnections int
	// Drain is how long senders may go on writing after the end was asked for. 0 cuts them off at once.
	Drain time.Duration
}

const defaultMaxLine = 1 << 20

func (t Tuning) withDefaults() Tuning {
	if t.MaxLine < 1 {
		t.MaxLine = defaultMaxLine
	}
	return t
}

// Tune replaces all the settings that may change. No connection ends for it, and no line is lost: MaxLine and Oversize hold for lines
// of which nothing has been read yet, and where there are more connections than MaxConnections, none is accepted until enough have
// ended. A drain that has begun ends when it was to. What New says of MaxLine and the pool's budget holds here, too.
func (s *Splitter) Tune(t Tuning) {
	t = t.withDefaults()
	s.tuning.Store(&t)
	s.registry.wake()
}

// tuned returns the settings that hold now; nobody changes them.
func (s *Splitter) tuned() *Tuning { return s.tuning.Load() }
