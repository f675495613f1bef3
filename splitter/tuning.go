package splitter

import "time"

// Tuning is what of the Options may change while a Splitter runs. Each field is what the one of the same name is there, and has the same
// default.
type Tuning struct {
	MaxLine        int
	Oversize       Oversize
	MaxConnections int
	Drain          time.Duration
}

// Tuning returns what of o may change later.
func (o Options) Tuning() Tuning {
	return Tuning{MaxLine: o.MaxLine, Oversize: o.Oversize, MaxConnections: o.MaxConnections, Drain: o.Drain}
}

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
