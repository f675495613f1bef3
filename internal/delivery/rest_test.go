package delivery

import (
	"testing"
	"time"

	"linesplit/target"
)

// An idle process took 0.3 % of a core with eight connections: each was looked at eight times a
// second, which takes several system calls, though it had nothing to confirm.
func TestIdleConnectionIsLookedAtOnceASecond(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		s.send()
		s.pass(time.Second) // the line is confirmed and counted
		c := s.out()
		before := c.looks
		s.pass(100 * time.Second)
		if n := c.looks - before; n < 90 || n > 100 {
			s.t.Errorf("%d looks in 100 s", n)
		}
		c.holds = true
		s.send()
		before = c.looks
		s.pass(10 * time.Second)
		if n := c.looks - before; n != 80 {
			s.t.Errorf("%d looks in 10 s at a connection with a line to confirm, want one per tick", n)
		}
		c.holds = false
		s.pass(target.Tick)
		if got := s.targets[0].Counters(); got.Confirmed.Lines != 2 || got.Sent.Lines != 2 || got.Acknowledged.Lines != 2 {
			s.t.Errorf("a tick after the last line was read: %+v", got)
		}
	})
}

// A connection at rest was last looked at up to a second ago. That second must not count as part of
// a stall: the target would no longer count as confirming, and its window would move, too early.
func TestStallOfAnIdleConnectionBeginsWithItsWrite(t *testing.T) {
	for ticks := range time.Duration(8) { // since the last look
		onStage(t, 1, func(s *stage) {
			s.pass(5*time.Second + ticks*target.Tick)
			s.out().holds = true
			s.send()
			s.pass(maxStuckAfter - target.Tick)
			if s.m.out.stuck {
				s.t.Fatalf("stuck too early, %d ticks after a look", ticks)
			}
			s.pass(target.Tick)
			if !s.m.out.stuck {
				s.t.Fatalf("not stuck after %v, %d ticks after a look", maxStuckAfter, ticks)
			}
		})
	}
}

// A connection at rest has lasted until its FIN, not until the last look before it. The connection
// that follows may get a FIN, too, as the target goes away: that one is no half-closer.
func TestIdleConnectionProvesThatItsTargetIsNoHalfCloser(t *testing.T) {
	for ticks := range time.Duration(8) {
		onStage(t, 1, func(s *stage) {
			s.pass(5*time.Second + ticks*target.Tick)
			time.Sleep(target.Tick / 2)
			s.out().told.FIN = true
			s.m.Check(time.Now())
			time.Sleep(NotHalfCloserFor - target.Tick)
			s.connect().told.FIN = true
			s.m.Check(time.Now())
			if s.m.out.ignoreFIN {
				s.t.Fatalf("a FIN was ignored %v after the end of a connection, %d ticks after a look",
					NotHalfCloserFor-target.Tick, ticks)
			}
		})
	}
}

// What is no longer at rest is looked at by the next tick.
func TestRestEnds(t *testing.T) {
	for name, disturb := range map[string]func(s *stage){
		"a line is written":        func(s *stage) { s.out().holds = true; s.send() },
		"the target is drained":    func(s *stage) { s.targets[0].SetAccepting(false) },
		"keepalives get no answer": func(s *stage) { s.out().told.Silent = time.Second; s.m.Check(time.Now()) },
		"a FIN has come":           func(s *stage) { s.out().told.FIN = true; s.m.Check(time.Now()) },
		"a connection is being left": func(s *stage) {
			s.m.leaving = append(s.m.leaving, newOutConn(&toldConn{}, s.targets[0], time.Now(), time.Now()))
		},
		"the connection is a new one": func(s *stage) { s.m.out.since = time.Now() },
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, 1, func(s *stage) {
				s.pass(5 * time.Second)
				c := s.out()
				if !s.m.Quiet() {
					s.t.Error("not quiet before")
				}
				disturb(s)
				before, quiet := c.looks, s.m.Quiet()
				s.pass(target.Tick)
				if c.looks == before {
					s.t.Error("the next tick did not look")
				}
				if quiet && s.m.Quiet() {
					s.t.Error("still quiet")
				}
			})
		})
	}
}
