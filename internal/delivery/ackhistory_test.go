package delivery

import (
	"testing"
	"time"
)

func TestAckHistory(t *testing.T) {
	const age = 8 * time.Second // one point a second
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	type step struct {
		ms   int
		pos  uint64
		want uint64 // of before(now-age), after the note
	}
	for name, steps := range map[string][]step{
		"nothing is old enough":                          {{0, 5, 0}, {1000, 6, 0}, {7999, 7, 0}},
		"exactly old enough":                             {{0, 5, 0}, {8000, 9, 5}},
		"positions between two points wait for the next": {{0, 0, 0}, {1, 7, 0}, {999, 7, 0}, {1000, 7, 0}, {8000, 7, 0}, {8999, 7, 0}, {9000, 7, 7}},
		"after a long pause":                             {{0, 5, 0}, {1000, 7, 0}, {100_000, 9, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			var h ackHistory
			for _, s := range steps {
				h.note(at(s.ms), s.pos, age)
				if got := h.before(at(s.ms).Add(-age)); got != s.want {
					t.Errorf("at %d ms: %d, want %d", s.ms, got, s.want)
				}
			}
		})
	}
}

// Whatever the interval between looks, a returned position had been reached by then, and a
// position that is old enough is returned, within one point and two looks.
func TestAckHistoryOverTime(t *testing.T) {
	const age = 10 * time.Second
	for _, step := range []time.Duration{time.Millisecond, 125 * time.Millisecond, time.Second,
		1300 * time.Millisecond, 7 * time.Second} {
		for _, idle := range []bool{false, true} { // when idle, before is not called for half of the time
			var h ackHistory
			for d := time.Duration(0); d < time.Minute; d += step {
				h.note(epoch.Add(d), uint64(d), age)
				if idle && d < 30*time.Second {
					continue
				}
				got := time.Duration(h.before(epoch.Add(d - age)))
				if got > max(0, d-age) {
					t.Fatalf("step %v, at %v: %v", step, d, got)
				}
				if least := d - age - age/historyParts - 2*step; got < least {
					t.Fatalf("step %v, at %v: only %v", step, d, got)
				}
			}
		}
	}
}
