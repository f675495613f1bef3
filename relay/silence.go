package relay

import (
	"time"

	"linesplit/relay/internal/traffic"
)

// progress changes as long as the connection is not silent.
type progress struct {
	bytes int64
	ended int32
	// waiting is the number of bytes in both send queues, or unknown. It does not grow while bytes
	// stays the same.
	waiting int64
}

const unknown = -1

// silence measures how long a connection has made no progress. A send queue that gets shorter is
// progress, too: its peer reads slowly.
type silence struct {
	seen  progress
	since time.Time // when the progress became seen; zero before the first look
}

// last returns the time without progress, given the bytes moved, the number of ended directions,
// and a function that counts the bytes in both send queues.
func (s *silence) last(now time.Time, bytes int64, ended int32, waiting func() int64) time.Duration {
	seen := progress{bytes, ended, unknown}
	moved := seen.bytes != s.seen.bytes || seen.ended != s.seen.ended || s.since.IsZero()
	if !moved {
		if seen.waiting = s.seen.waiting; seen.waiting != 0 {
			seen.waiting = waiting()
		}
		moved = seen.waiting < s.seen.waiting
	}
	s.seen = seen
	if moved {
		s.since = now
	}
	return now.Sub(s.since)
}

// verdict returns why a connection that is silent for so long has to end, or NotEnded. ending
// reports whether a side has ended or broken.
func verdict(set *Tuning, silent time.Duration, ending bool) traffic.End {
	switch {
	case set.IdleTimeout > 0 && silent >= set.IdleTimeout:
		return traffic.EndIdle
	case silent >= set.LingerTimeout && ending:
		return traffic.EndLinger
	}
	return traffic.NotEnded
}
