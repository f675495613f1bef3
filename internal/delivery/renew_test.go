package delivery

import (
	"errors"
	"testing"
	"time"

	"linesplit/target"
)

// ages makes connections to the first target last for an age, the present one from now on.
func (s *stage) ages(age time.Duration) {
	s.targets[0].Target.Address.MaxAge = age
	s.m.out.renewal = s.m.renewalOf(s.targets[0], time.Now())
}

// An old connection is replaced between two lines and ends in order: nothing is sent again.
func TestConnectionIsRenewed(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		const age = 10 * time.Second
		s.ages(age)
		old := s.out()
		s.send()
		s.pass(age / 2)
		if s.dialled != nil {
			s.t.Fatal("dials too early")
		}
		s.pass(age/2 + 2*target.Tick)
		if s.dialled != s.targets[0] || s.m.Wants() {
			s.t.Fatalf("dials: %t, wants lines: %t", s.dialled != nil, s.m.Wants())
		}
		s.connect()
		if s.out() == old {
			s.t.Fatal("the new connection is not used")
		}
		s.send()
		if !old.closed {
			s.t.Error("the old connection does not end")
		}
		s.pass(age / 2)
		got := s.targets[0].Counters()
		if got.Confirmed.Lines != 2 || got.Resent[0].Lines+got.Resent[1].Lines > 0 || got.Failovers+got.Failbacks > 0 {
			s.t.Errorf("%+v", got)
		}
	})
}

// A target that cannot be dialled keeps the connection that it has, and is tried again later.
func TestRenewalThatFails(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		const age = 10 * time.Second
		s.ages(age)
		old := s.out()
		dials := 0
		for range 4 {
			s.pass(age + 2*target.Tick)
			if s.dialled != nil {
				dials++
				b := s.dialled
				s.dialled = nil
				s.m.Dialled(b, nil, errors.New("refused"), time.Now())
			}
			s.pass(2 * target.Tick)
			s.send()
		}
		if s.out() != old || dials < 3 || dials > 4 {
			s.t.Errorf("the connection was given up: %t, dials: %d", s.out() != old, dials)
		}
	})
}

// A target that does not confirm keeps its connection, which gets lines again.
func TestRenewalOfConnectionThatHolds(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.ages(10 * time.Second)
		s.out().holds = true
		s.pass(10*time.Second - target.Tick)
		s.send()
		s.pass(2 * target.Tick)
		if s.m.Wants() {
			s.t.Error("the renewal has not begun")
		}
		s.pass(renewWithin)
		if s.dialled != nil || !s.m.Wants() {
			s.t.Errorf("dials: %t, wants lines: %t", s.dialled != nil, s.m.Wants())
		}
	})
}

// A connection whose target has no such option is never renewed, nor one of a drained target.
func TestConnectionIsNotRenewed(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.pass(time.Hour)
		if s.dialled != nil {
			s.t.Error("dials without a limit")
		}
		s.ages(10 * time.Second)
		s.targets[0].SetAccepting(false)
		s.pass(time.Minute)
		if s.dialled == s.targets[0] {
			s.t.Error("dials a drained target")
		}
	})
}
