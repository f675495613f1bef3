package workerpool

import (
	"time"
)

// markCount is how many marks are kept: one per markEvery-th of the age, and one to spare at either end.
const (
	markEvery = 8
	markCount = markEvery + 2
)

// marks remember where a connection stood at some moments of the recent past. The zero value is empty.
type marks struct {
	ring  [markCount]mark
	n     int
	first int
}

type mark struct {
	at  time.Time
	pos uint64
}

// note remembers a position, at most once per markEvery-th of age.
func (m *marks) note(now time.Time, pos uint64, age time.Duration) {
	if m.n > 0 && now.Sub(m.ring[(m.first+m.n-1)%markCount].at) < age/markEvery {
		return
	}
	if m.n == markCount {
		m.first, m.n = (m.first+1)%markCount, m.n-1
	}
	m.ring[(m.first+m.n)%markCount] = mark{now, pos}
	m.n++
}

// before returns the last position noted at t or earlier, 0 where there is none, and forgets those before it.
func (m *marks) before(t time.Time) uint64 {
	for m.n > 1 && !m.ring[(m.first+1)%markCount].at.After(t) {
		m.first, m.n = (m.first+1)%markCount, m.n-1
	}
	if m.n == 0 || m.ring[m.first].at.After(t) {
		return 0
	}
	return m.ring[m.first].pos
}
