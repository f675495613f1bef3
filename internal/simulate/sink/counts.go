package sink

import "sync/atomic"

// Counts are totals of a sink since Start, restarts included.
type Counts struct {
	Lines    uint64 `json:"lines"` // that the application has read
	Bytes    uint64 `json:"bytes"` // that the application has read, in unfinished lines too
	Open     int    `json:"open"`  // connections open now
	Accepted uint64 `json:"accepted"`

	// Closed connections, by how they ended. Clean ends, and those by which the sink itself
	// ended, are not counted here.
	Refused    uint64 `json:"refused"`    // reset at once because of MaxConnections
	Dropped    uint64 `json:"dropped"`    // reset by Chaos
	Reset      uint64 `json:"reset"`      // reset by ResetUnread
	Idle       uint64 `json:"idle"`       // closed by IdleTimeout
	Handshakes uint64 `json:"handshakes"` // failed in the TLS handshake
	Broken     uint64 `json:"broken"`     // broken by the peer or by the network
}

// counters are the totals behind Counts.
type counters struct {
	lines, bytes, accepted                            atomic.Uint64
	refused, dropped, reset, idle, handshakes, broken atomic.Uint64
}

// Lines returns how many lines the application has read, duplicates included.
func (s *Sink) Lines() uint64 { return s.count.lines.Load() }

// Bytes returns how many bytes it has read.
func (s *Sink) Bytes() uint64 { return s.count.bytes.Load() }

// Accepted returns how many connections the sink has ever accepted.
func (s *Sink) Accepted() uint64 { return s.count.accepted.Load() }

// Open returns how many connections are open.
func (s *Sink) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Counts returns all totals.
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

// Status is the state of a sink in the answer to /status.
type Status struct {
	Target    string    `json:"target"`
	Listening bool      `json:"listening"`
	Paused    bool      `json:"paused"`
	Behaviour Behaviour `json:"behaviour"`
	Counts
}

// Status returns the current state.
func (s *Sink) Status() Status {
	s.mu.Lock()
	listening := s.ln != nil
	s.mu.Unlock()
	st := s.state.Load()
	return Status{s.Target(), listening, st.paused, st.Behaviour, s.Counts()}
}
