package sink

import "sync/atomic"

// Counts are what a sink has seen since its start, over all its lives.
type Counts struct {
	Lines    uint64 `json:"lines"` // that its application has read
	Bytes    uint64 `json:"bytes"` // likewise, with those of unfinished lines
	Open     int    `json:"open"`  // connections that there are now
	Accepted uint64 `json:"accepted"`

	// How connections ended that are not open any more, as far as the sink did not end them all. The rest came to a clean end.
	Refused    uint64 `json:"refused"`    // reset at once, since there were as many as are allowed
	Dropped    uint64 `json:"dropped"`    // reset by chaos
	Reset      uint64 `json:"reset"`      // reset with data unread, as ordered
	Idle       uint64 `json:"idle"`       // closed, since they brought nothing for too long
	Handshakes uint64 `json:"handshakes"` // did not come as far as TLS
	Broken     uint64 `json:"broken"`     // broken off by the peer, or by what is between
}

// counters are the same while they count.
type counters struct {
	lines, bytes, accepted                            atomic.Uint64
	refused, dropped, reset, idle, handshakes, broken atomic.Uint64
}

// Lines is how many lines the application has read, duplicates included.
func (s *Sink) Lines() uint64 { return s.count.lines.Load() }

// Bytes is how many bytes it has read.
func (s *Sink) Bytes() uint64 { return s.count.bytes.Load() }

// Accepted is how many connections it has ever accepted.
func (s *Sink) Accepted() uint64 { return s.count.accepted.Load() }

// Open is how many connections there are.
func (s *Sink) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Counts returns all of them.
func (s *Sink) Counts() Counts {
	c := &s.count
	return Counts{
		Lines:      c.lines.Load(),
		Bytes:      c.bytes.Load(),
		Open:       s.Open(),
		Accepted:   c.accepted.Load(),
		Refused:    c.refused.Load(),
		Dropped:    c.dropped.Load(),
		Reset:      c.reset.Load(),
		Idle:       c.idle.Load(),
		Handshakes: c.handshakes.Load(),
		Broken:     c.broken.Load(),
	}
}

// Status is a sink as people look at it.
type Status struct {
	Target    string    `json:"target"`
	Listening bool      `json:"listening"`
	Paused    bool      `json:"paused"`
	Behaviour Behaviour `json:"behaviour"`
	Counts
}

// Status returns what holds now.
func (s *Sink) Status() Status {
	s.mu.Lock()
	listening := s.ln != nil
	s.mu.Unlock()
	m := s.mood.Load()
	return Status{s.Target(), listening, m.paused, m.Behaviour, s.Counts()}
}
