package intake

import (
	"testing"
	"time"
)

// A line that was dropped or truncated gave its time to the next one, or got its own anew: a sender of
// short lines behind long ones was closed as too slow, and one that never ended a long line was not.
func TestTimeBelongsToOneLine(t *testing.T) {
	type read struct {
		at   time.Duration
		what string
	}
	const limit = 10 * time.Second
	for name, tt := range map[string]struct {
		policy Oversize
		reads  []read
		at     time.Duration
		want   Timeout
	}{
		"dropped":   {Drop, []read{{0, "0123456789"}, {9 * time.Second, "\nab"}}, 11 * time.Second, NoTimeout},
		"after it":  {Drop, []read{{0, "0123456789"}, {9 * time.Second, "\nab"}}, 20 * time.Second, SlowLine},
		"truncated": {Truncate, []read{{0, "0123"}, {9 * time.Second, "456789"}}, 11 * time.Second, SlowLine},
		"whole":     {Drop, []read{{0, "0123"}, {9 * time.Second, "\n"}}, 11 * time.Second, NoTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStream(0)
			s.o.Timed = true
			set := Limits{MaxLine: 8, Policy: tt.policy}
			begin := time.Now()
			for _, r := range tt.reads {
				s.Prepare()
				if r := s.Read(copy(s.Room(), r.what), set, begin.Add(r.at)); r.Whole != nil {
					s.shared.pool.Put(r.Whole)
				}
				s.Settle()
			}
			if got := s.Expired(begin.Add(tt.at), 0, limit); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			s.End()
		})
	}
}
