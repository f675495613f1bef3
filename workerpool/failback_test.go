package workerpool

import (
	"testing"
	"time"
)

func displaced(t *testing.T, o Options) (r *rig, home, other *peer) {
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
