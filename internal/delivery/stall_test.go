package delivery

import (
	"testing"
	"time"

	"linesplit/target"
)

const stallTimeout = 30 * time.Second // of a stage

// stallAll lets all targets of a stage take nothing, the machine's with a line outstanding. The
// others are found stuck a little later than the machine's.
func (s *stage) stallAll() {
	s.out().holds = true
	s.send()
	s.pass(maxStuckAfter + time.Second)
	for _, b := range s.targets[1:] {
		b.Target.Joined()
		b.Target.Stuck(1)
	}
}

// wantMoved demands that the machine gives its connection up, as stalled, when its conditions have
// held for the time given, and not before.
func (s *stage) wantMoved(after time.Duration) {
	s.t.Helper()
	c := s.out()
	s.pass(after - 2*target.Tick)
	if c.closed {
		s.t.Fatalf("moved before %v had passed", after)
	}
	s.pass(4 * target.Tick)
	if !c.closed {
		s.t.Fatalf("not moved after %v", after)
	}
}

// All targets stall, because of a service behind them, and go on at different moments. The first to
// go on then took the windows of the others, which were about to go on, too: their lines went
// twice.
func TestSharedStallCountsFromWhenAnotherTargetGoesOn(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.stallAll()
		s.pass(2 * stallTimeout)
		s.targets[1].Target.Stuck(-1)
		c := s.out()
		s.pass(stallTimeout - time.Second)
		if c.closed {
			s.t.Fatal("the window has moved")
		}
		c.holds = false
		s.pass(2 * stallTimeout)
		if got := s.targets[0].Counters(); got.Confirmed.Lines != 1 || got.Stalls != 1 {
			s.t.Errorf("%+v", got)
		}
	})
}

// One that hangs after all costs one stall timeout more.
func TestHangBehindSharedStallMoves(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.stallAll()
		s.pass(2 * stallTimeout)
		s.targets[1].Target.Stuck(-1)
		s.wantMoved(stallTimeout)
	})
}

// Other targets that pause again and again do not keep the window for ever: from the second of
// their pauses on, only the time of the pauses does not count.
func TestPausesOfOthersOnlyDelayTheMove(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.stallAll()
		for range stallTimeout / (2 * time.Second) {
			s.targets[1].Target.Stuck(-1)
			s.pass(2*time.Second - target.Tick)
			s.targets[1].Target.Stuck(1)
			s.pass(2*time.Second + target.Tick)
		}
		s.targets[1].Target.Stuck(-1)
		c := s.out()
		if s.pass(4 * time.Second); !c.closed {
			s.t.Errorf("not moved although another target has confirmed for %v", stallTimeout)
		}
	})
}

// A stall counts while there is no other target: the first one to come takes the window.
func TestStallWithoutOthersCounts(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		s.out().holds = true
		s.send()
		s.pass(2 * stallTimeout)
		s.targets[1].Target.Joined()
		s.wantMoved(2 * target.Tick)
	})
}
