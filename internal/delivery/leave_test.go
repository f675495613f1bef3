package delivery

import (
	"testing"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Age confirms up to an eighth of itself late. With a short stall timeout the window of a target
// that had read everything was therefore sent again when the target was drained.
func TestDrainedTargetThatHasReadConfirmsByAge(t *testing.T) {
	for ticks := range time.Duration(9) { // since age noted a position
		onStage(t, 2, func(s *stage) {
			s.targets[1].Target.Joined() // and so confirms
			set := *s.shared.Settings()
			set.StallTimeout, set.ResendAge = target.Tick, 8*time.Second
			s.shared.SetSettings(&set)
			s.out().guesses = true
			s.send()
			s.pass(ticks * target.Tick)
			s.send()
			s.pass(target.Tick)
			s.targets[0].SetAccepting(false)
			s.pass(20 * time.Second)
			got := s.targets[0].Counters()
			if resent := got.Resent[1].Count; resent != (linebuf.Count{}) || got.Confirmed.Lines != 2 {
				s.t.Fatalf("%d lines confirmed, %v resent, %d ticks", got.Confirmed.Lines, resent, ticks)
			}
		})
	}
}

// A connection that had waited for the end of a write counted as new from then on: its target's
// FIN, seconds after its start, passed for that of a half-closer, and the target got lines until it
// exited, with a reset.
func TestFINAfterAWaitIsNoHalfClosers(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.pass(5 * time.Second)
		old := s.out()
		b := s.buffers.MustGet(512)
		b.B, b.Lines, b.Read = append(b.B, "line\n"...), 1, time.Now()
		s.m.Take(b)
		old.told.FIN = true
		s.m.Check(time.Now())
		waits := s.connect()
		s.pass(NotHalfCloserFor + time.Second)
		_, p := s.m.Writing()
		old.written += len(p)
		s.m.Wrote(len(p), nil, time.Now())
		if s.out() != waits {
			t.Fatal("the connection that has waited is not used")
		}
		waits.told.FIN = true
		s.m.Check(time.Now())
		if s.m.out.ignoreFIN || s.dialled == nil {
			t.Errorf("ignored: %v, another dial: %v", s.m.out.ignoreFIN, s.dialled != nil)
		}
	})
}
