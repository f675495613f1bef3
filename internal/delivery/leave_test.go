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
