package workerpool

import (
	"testing"
	"time"
)

// With exact knowledge lines leave the window once they are read, and a failure resends from the
// line with the first unread byte on. Targets report how many connections have it.
func TestExactKnowledge(t *testing.T) {
	for name, c := range map[string]struct {
		acked, read            int
		confirmed              int // before the failure
		unacknowledged, unread int
	}{
		"nothing read":              {noLimit, 0, 0, 0, 100},
		"in the middle of a line":   {noLimit, 2550, 20, 0, 75},
		"at the end of a line":      {noLimit, 2500, 20, 0, 75},
		"one byte short of it":      {noLimit, 2499, 20, 0, 76},
		"at the end of a buffer":    {noLimit, 2000, 20, 0, 80},
		"not all acknowledged":      {5550, 2550, 20, 45, 30},
		"all acknowledged and read": {noLimit, noLimit, 100, 0, 0},
	} {
		inBubble(t, name, func(t *testing.T) {
			a := newPeer("a")
			a.exact, a.margin, a.onAccept = true, 1<<40, limitFirst(c.acked, c.read)
			r := newRig(t, Options{Connections: 1}, []*peer{a})
			r.sendFullBuffers()
			s := r.pass(time.Second)
			r.wantConfirmed(s, c.confirmed)
			if n := s.Targets[0].ExactConnections; n != 1 {
				t.Errorf("%d connections with exact knowledge", n)
			}
			a.conn(0).reset()
			r.wantResent(r.pass(time.Second), c.unacknowledged, c.unread)
			r.finish(time.Second)
		})
	}
}
