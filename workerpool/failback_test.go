package workerpool

import (
	"testing"
	"time"
)

// never is a FailbackProbe or FailbackInterval that no test reaches.
const never = 24 * time.Hour

// displaced returns a rig whose worker has no home and no evidence of its return.
func displaced(t *testing.T, o Options) (r *rig, home, other *peer) {
	o.FailbackProbe = never
	home, other = newPeer("a"), newPeer("b")
	home.refuse = true
	r = newRig(t, o, []*peer{home, other}, 0)
	r.pass(5 * time.Second)
	if other.conn(0) == nil {
		t.Fatal("no failover")
	}
	return r, home, other
}

func TestFailbackMovesHome(t *testing.T) {
	o := Options{Tuning: Tuning{FailbackInterval: time.Minute}}
	inBubble(t, "moves home when that is back", func(t *testing.T) {
		r, a, b := displaced(t, o)
		r.sendFullBuffers()
		r.pass(30 * time.Second)
		a.set(func() { a.refuse = false })
		r.wantDials(a, 1)
		s := r.pass(30 * time.Second)
		if s.Targets[0].Failbacks != 1 || s.Targets[0].Connections != 1 || s.Targets[1].Connections != 0 {
			t.Errorf("%+v", s.Targets)
		}
		if c := b.conn(0).state(); !c.closed || c.aborted {
			t.Errorf("old connection: closed %v, aborted %v", c.closed, c.aborted)
		}
		r.pass(5 * time.Minute)
		r.wantDials(a, 2)
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "a failed attempt costs nothing", func(t *testing.T) {
		r, a, b := displaced(t, o)
		for range 100 {
			r.send(10, 100)
			r.pass(6 * time.Second)
		}
		if n := a.dialled(); n < 9 || n > 12 {
			t.Errorf("home was dialled %d times in ten minutes, the interval is a minute", n)
		}
		r.wantDials(b, 1)
		if n := b.conn(0).state().read; n != 100_000 {
			t.Errorf("%d bytes read", n)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "an attempt that hangs costs nothing", func(t *testing.T) {
		r, a, b := displaced(t, o)
		a.set(func() { a.hang = true })
		for range 100 {
			r.send(10, 100)
			r.pass(6 * time.Second)
		}
		if n := b.conn(0).state().read; n != 100_000 {
			t.Errorf("%d bytes read", n)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}

func TestFailbackWaitsForOldWindow(t *testing.T) {
	inBubble(t, "the old window is waited for", func(t *testing.T) {
		r, a, b := displaced(t, Options{Tuning: Tuning{FailbackInterval: time.Minute, StallTimeout: time.Hour}})
		b.set(func() { b.holdReads = true })
		r.sendFullBuffers()
		r.pass(10 * time.Second)
		a.set(func() { a.refuse = false })
		r.pass(time.Minute)
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(time.Second), 0)
		if n := a.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at home", n)
		}
		b.set(func() { b.holdReads = false })
		r.wantConfirmed(r.pass(time.Second), 100)
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "the old window is resent if it fails", func(t *testing.T) {
		r, a, b := displaced(t, Options{Tuning: Tuning{FailbackInterval: time.Minute, StallTimeout: time.Hour}})
		b.set(func() { b.holdReads = true })
		r.sendFullBuffers()
		r.pass(10 * time.Second)
		a.set(func() { a.refuse = false })
		r.pass(time.Minute)
		b.conn(0).reset()
		s := r.pass(time.Second)
		r.wantResent(s, 0, 100)
		if n := a.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at home", n)
		}
		r.finish(time.Second)
	})
}

func TestFailbackDuringWrite(t *testing.T) {
	inBubble(t, "at the boundary of a line", func(t *testing.T) {
		r, a, b := displaced(t, Options{Tuning: Tuning{FailbackInterval: time.Minute, StallTimeout: time.Hour}})
		a.set(func() { a.refuse, a.delay = false, 10*time.Second })
		r.pass(time.Minute)                                 // home is being dialled
		b.set(func() { b.holdAcks, b.sendBuf = true, 550 }) // a write blocks in the middle of a line
		r.sendFullBuffers()
		r.pass(2 * time.Minute)
		if n := a.conn(0).state().read; n != 0 {
			t.Errorf("%d bytes at home while a write is under way elsewhere", n)
		}
		b.set(func() { b.holdAcks = false })
		if s := r.pass(time.Second); s.Targets[0].Failbacks != 1 {
			t.Error("no failback")
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "a blocked write fails while home has answered", func(t *testing.T) {
		r, a, b := displaced(t, Options{Tuning: Tuning{FailbackInterval: time.Minute, StallTimeout: time.Hour}})
		a.set(func() { a.refuse, a.delay = false, 10*time.Second })
		r.pass(time.Minute)
		b.set(func() { b.holdAcks, b.sendBuf = true, 550 })
		r.sendFullBuffers()
		r.pass(2 * time.Minute)
		b.conn(0).reset()
		r.wantResent(r.pass(time.Second), 6, 0)
		r.wantDials(b, 1)
		if n := a.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at home", n)
		}
		r.finish(time.Second)
	})
	inBubble(t, "a write that blocks for ever does not prevent failback", func(t *testing.T) {
		r, a, b := displaced(t, Options{Tuning: Tuning{FailbackInterval: 2 * time.Minute}})
		b.set(func() { b.holdAcks, b.sendBuf = true, 550 })
		r.sendFullBuffers()
		r.pass(3 * time.Minute) // the dial of home fails
		a.set(func() { a.refuse = false })
		r.pass(3 * time.Minute)
		if c := a.conn(0); c == nil || c.state().read != 10_000 {
			t.Fatal("home is up and idle but gets nothing")
		}
		r.wantResent(r.finish(time.Second), 6, 0)
	})
}

// A target that was back stayed idle for up to five minutes, until the next failback interval.
func TestFailbackWithinSeconds(t *testing.T) {
	inBubble(t, "without checks", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Connections: 4}, []*peer{a, b}, 0)
		r.pass(5 * time.Second)
		before := a.dialled()
		r.pass(time.Minute)
		if n := a.dialled() - before; n < 11 || n > 13 {
			t.Errorf("four displaced workers dialled home %d times in a minute, want once in 5 s", n)
		}
		a.set(func() { a.refuse = false })
		if s := r.pass(7 * time.Second); s.Targets[0].Connections != 4 || s.Targets[1].Connections != 0 {
			t.Errorf("7 s after its return: %+v", s.Targets)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "after a passed check", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Connections: 4, Tuning: Tuning{FailbackProbe: never}}, []*peer{a, b}, 0)
		home := r.pool.Targets()[0]
		home.CheckedDown(errReset)
		before := a.dialled()
		r.pass(time.Minute)
		r.wantDials(a, before)
		a.set(func() { a.refuse = false })
		home.CheckedUp()
		if s := r.pass(2 * time.Second); s.Targets[0].Connections != 4 {
			t.Errorf("2 s after a passed check: %+v", s.Targets)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "after one connection failed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 4}, []*peer{a, b}, 0)
		r.pass(time.Minute) // old enough not to count as a home of no use
		a.conn(0).reset()
		if s := r.pass(time.Second); s.Targets[1].Connections != 1 {
			t.Fatalf("no failover: %+v", s.Targets)
		}
		if s := r.pass(6 * time.Second); s.Targets[0].Connections != 4 {
			t.Errorf("7 s after the failover: %+v", s.Targets)
		}
		r.finish(time.Second)
	})
}

// The kernel of a target that hangs takes connections: that is no evidence that the target is back.
func TestNoQuickFailbackAfterAStall(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.holdAcks = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: 10 * time.Minute}}, []*peer{a, b})
		for range 8 {
			r.sendFullBuffers()
		}
		r.pass(time.Minute)
		before := a.dialled()
		if r.pool.Stats().Targets[0].Stalls == 0 {
			t.Fatal("no stall")
		}
		r.pass(8 * time.Minute)
		if n := a.dialled() - before; n > 0 {
			t.Errorf("home was dialled %d times although it has stalled", n)
		}
		a.set(func() { a.holdAcks = false })
		if s := r.pass(3 * time.Minute); s.Targets[0].Failbacks == 0 {
			t.Errorf("no failback after the interval: %+v", s.Targets)
		}
		r.finish(time.Second)
	})
}

// A home that reads lines and crashes again and again gets them less and less often: each crash
// sends lines twice.
func TestFailbackToACrashingHomeSlowsDown(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.onAccept = func(c *peerConn) { time.AfterFunc(10*time.Second, c.reset) }
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		for range 15 * 60 {
			r.send(10, 100)
			r.pass(time.Second)
		}
		// It goes home after 5, 10, 20 s and so on, in the end every 5 min.
		if n := r.pool.Stats().Targets[0].Failbacks; n < 5 || n > 9 {
			t.Errorf("%d failbacks in 15 minutes", n)
		}
		a.set(func() { a.onAccept = nil })
		r.pass(5*time.Minute + 10*time.Second)
		if s := r.pool.Stats(); s.Targets[0].Connections != 1 {
			t.Errorf("not home within the interval: %+v", s.Targets)
		}
		r.finish(15 * time.Second)
	})
}
