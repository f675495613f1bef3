package delivery

import "time"

// historyLen is the number of points kept: one per historyParts-th of the age, and one to spare
// at either end.
const (
	historyParts = 8
	historyLen   = historyParts + 2
)

// ackHistory holds the positions of a connection at some moments of the recent past. The zero
// value is empty.
type ackHistory struct {
	ring  [historyLen]ackPoint
	n     int
	first int
}

type ackPoint struct {
	at  time.Time
	pos uint64
}

// note records a position, at most once per historyParts-th of age.
func (h *ackHistory) note(now time.Time, pos uint64, age time.Duration) {
	if h.n > 0 && now.Sub(h.ring[(h.first+h.n-1)%historyLen].at) < age/historyParts {
		return
	}
	if h.n == historyLen {
		h.first, h.n = (h.first+1)%historyLen, h.n-1
	}
	h.ring[(h.first+h.n)%historyLen] = ackPoint{now, pos}
	h.n++
}

// before returns the last position noted at t or earlier, 0 if there is none, and forgets those
// before it.
func (h *ackHistory) before(t time.Time) uint64 {
	for h.n > 1 && !h.ring[(h.first+1)%historyLen].at.After(t) {
		h.first, h.n = (h.first+1)%historyLen, h.n-1
	}
	if h.n == 0 || h.ring[h.first].at.After(t) {
		return 0
	}
	return h.ring[h.first].pos
}
