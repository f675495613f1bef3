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

// sides measures how long each side has been silent. It is made only where a side has a timeout of
// its own.
type sides struct{ client, target sideSilence }

// look returns for how long each side has been silent, given the bytes moved in both directions and
// the bytes in the send queues behind them. A side whose bytes wait for the other one to take them
// is held up and not silent.
func (s *sides) look(now time.Time, in, out, inWaiting, outWaiting int64) (client, target time.Duration) {
	client = s.client.last(now, in, out-outWaiting, inWaiting > 0)
	target = s.target.last(now, out, in-inWaiting, outWaiting > 0)
	return client, target
}

// sideSilence measures how long one side has neither sent anything nor taken anything.
type sideSilence struct {
	sent, taken int64
	since       time.Time // zero before the first look
}

func (s *sideSilence) last(now time.Time, sent, taken int64, heldUp bool) time.Duration {
	if sent != s.sent || taken > s.taken || heldUp || s.since.IsZero() {
		s.since = now
	}
	s.sent, s.taken = sent, taken
	return now.Sub(s.since)
}

// flow is one direction of a connection.
type flow interface {
	Moved() int64
	Waiting() int64 // bytes in the send queue behind it
}

// checkSides returns the reason to end a connection of which one side has been silent for longer
// than its own timeout, or NotEnded. It makes *s if there is such a timeout.
func checkSides(s **sides, now time.Time, set *Tuning, in, out flow) traffic.End {
	if set.ClientIdleTimeout <= 0 && set.TargetIdleTimeout <= 0 {
		*s = nil
		return traffic.NotEnded
	}
	if *s == nil {
		*s = new(sides)
	}
	client, target := (*s).look(now, in.Moved(), out.Moved(), in.Waiting(), out.Waiting())
	switch {
	case set.ClientIdleTimeout > 0 && client >= set.ClientIdleTimeout:
		return traffic.EndClientIdle
	case set.TargetIdleTimeout > 0 && target >= set.TargetIdleTimeout:
		return traffic.EndTargetIdle
	}
	return traffic.NotEnded
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
