package intake

import (
	"testing"
	"time"
)

// A sender over TLS that was cut off while linesplit made it wait for memory was closed as silent,
// with what it had sent unread.
func TestHeldUpSenderIsNotSilent(t *testing.T) {
	s := newStream(0)
	now := time.Now()
	after := func(d time.Duration) time.Time { return now.Add(d) }
	first, over := s.Deadline(now, false, true)
	if over || !first.Equal(after(readOutWait)) {
		t.Fatalf("at first: %v, over %v", first.Sub(now), over)
	}
	s.HoldUp()
	s.Resume(now, after(readOutWait))
	second, over := s.Deadline(after(readOutWait), true, true)
	if over || !second.Equal(after(2*readOutWait)) {
		t.Fatalf("after a wait: %v, over %v", second.Sub(now), over)
	}
	if _, over := s.Deadline(second, true, true); !over {
		t.Error("a silent sender is not over")
	}
	s.HoldUp()
	s.Resume(second, after(maxReadOut+1))
	if _, over := s.Deadline(after(maxReadOut+1), false, true); !over {
		t.Error("a sender is read for longer than a second")
	}
}

// A line that was dropped or truncated gave its time to the next one, or got its own anew: a sender
// of short lines behind long ones was closed as too slow, and one that never ended a long line was
// not.
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
