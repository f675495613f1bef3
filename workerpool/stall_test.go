package workerpool

import (
	"testing"
	"time"

	"linesplit/internal/delivery"
)

// stalledPair returns two targets with a worker each, of which the first takes nothing.
func stalledPair(t *testing.T, o Options) (r *rig, a, b *peer) {
	a, b = newPeer("a"), newPeer("b")
	r = newRig(t, o, []*peer{a, b})
	r.pass(time.Second)
	a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 2000, 2000 })
	r.blockWrite(a.conn(0))
	r.pass(time.Second)
	return r, a, b
}

// blockWrite sends until a connection that takes no more has a write that waits. The scheduler
// decides which worker takes a buffer.
func (r *rig) blockWrite(c *peerConn) {
	r.t.Helper()
	for range 1000 {
		r.send(10, 100)
		r.pass(time.Millisecond)
		if s := c.state(); len(s.sent)-s.acked >= c.peer.sendBuf {
			return
		}
	}
	r.t.Fatal("the target that is to stall gets nothing: the test proves nothing")
}

func TestStalledWindowMoves(t *testing.T) {
	inBubble(t, "moves to the one that confirms", func(t *testing.T) {
		r, a, b := stalledPair(t, Options{})
		r.wantResent(r.pass(28*time.Second), 0, 0)
		s := r.pass(3 * time.Second)
		if s.Targets[0].Stalls != 1 || s.Targets[1].Stalls != 0 || s.Targets[0].Failovers != 1 {
			t.Errorf("%+v", s.Targets)
		}
		r.wantDials(a, 1)
		r.wantDials(b, 2)
		r.pass(2 * time.Minute)
		r.wantDials(a, 1)
		r.wantDials(b, 2)
		r.finish(time.Second)
	})
	inBubble(t, "once per stall", func(t *testing.T) {
		r, a, b := stalledPair(t, Options{})
		// New connections take nothing. The present one goes on, so that b counts as
		// confirming.
		b.set(func() {
			b.onAccept = func(c *peerConn) { c.ackLimit = 0 }
		})
		for range 300 {
			r.send(1, 100)
			r.pass(time.Second)
		}
		r.wantDials(a, 1)
		r.wantDials(b, 2)
		b.set(func() {
			for _, c := range b.conns {
				c.ackLimit = noLimit
			}
		})
		r.pass(time.Second)
		r.finish(time.Second)
	})
	inBubble(t, "a new stall may move again", func(t *testing.T) {
		r, a, b := stalledPair(t, Options{})
		r.pass(31 * time.Second)
		r.wantDials(b, 2)
		r.pass(15 * time.Second) // the window that moved is confirmed by age: the stall is over
		a.set(func() { a.holdReads = false })
		b.conn(1).ackTo(b.conn(1).state().acked, noLimit)
		for b.conn(1).state().acked == len(b.conn(1).state().sent) {
			r.send(10, 100)
			r.pass(100 * time.Millisecond)
		}
		r.pass(31 * time.Second)
		if s := r.checkedStats(); s.Targets[1].Stalls != 1 {
			t.Errorf("%+v", s.Targets)
		}
		b.conn(1).ackTo(noLimit, noLimit)
		r.finish(time.Second)
	})
}

func TestBackpressureIsNoStall(t *testing.T) {
	inBubble(t, "with nothing outstanding there is no stall", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		s := r.pass(10 * time.Minute)
		if s.Targets[0].Stalls+s.Targets[1].Stalls != 0 {
			t.Errorf("%+v", s.Targets)
		}
		r.wantDials(a, 1)
		r.finish(time.Second)
	})
	inBubble(t, "slow is not stalled", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Second)
		a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 2000, 2000 })
		r.blockWrite(a.conn(0))
		for range 10 {
			r.pass(25 * time.Second)
			a.conn(0).do(func() { a.holdReads, a.conns[0].readLimit = false, a.conns[0].read+100 })
		}
		r.wantDials(a, 1)
		a.conn(0).ackTo(noLimit, noLimit)
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}

func TestStallWithNowhereToGo(t *testing.T) {
	inBubble(t, "all stalled: windows stay", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Second)
		for _, p := range []*peer{a, b} {
			p.set(func() { p.holdReads, p.recvBuf, p.sendBuf = true, 2000, 2000 })
		}
		r.blockWrite(a.conn(0))
		r.blockWrite(b.conn(0))
		s := r.pass(100 * time.Second)
		if s.Targets[0].Stalls != 1 || s.Targets[1].Stalls != 1 {
			t.Errorf("%+v", s.Targets)
		}
		r.wantResent(s, 0, 0)
		for _, p := range []*peer{a, b} {
			p.set(func() { p.holdReads = false })
		}
		s = r.pass(time.Second)
		if s.Taken.Lines != uint64(r.seq) {
			t.Errorf("%d of %d lines taken when they went on", s.Taken.Lines, r.seq)
		}
		r.wantDials(a, 1)
		r.wantDials(b, 1)
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "a target without connections is not chosen", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 2000, 2000 })
		r.sendFullBuffers()
		r.wantResent(r.pass(100*time.Second), 0, 0)
		r.wantDials(a, 1)
		r.wantDials(b, 0)
		a.set(func() { a.holdReads = false })
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}

func TestFailureAfterStallMovesAgain(t *testing.T) {
	inBubble(t, "after a failure the window may move again", func(t *testing.T) {
		// The window moves from a to b in a stall, then b dies: back at a, which still takes
		// nothing, it may move to c.
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b, c}, 0, 1)
		r.pass(time.Second)
		a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 2000, 2000 })
		b.set(func() { b.onAccept = func(c *peerConn) { c.ackLimit = 0 } })
		r.blockWrite(a.conn(0))
		r.pass(32 * time.Second)
		r.wantDials(b, 2)
		c.set(func() { c.refuse = true })
		a.set(func() { a.onAccept = func(conn *peerConn) { conn.ackLimit = 0 } })
		b.set(func() { b.onAccept = nil })
		b.conn(1).reset()
		r.pass(2 * time.Minute)
		c.set(func() { c.refuse = false })
		r.pass(time.Minute)
		a.set(func() {
			a.holdReads = false
			for _, c := range a.conns {
				c.ackLimit = noLimit
			}
		})
		r.finish(10 * time.Second)
	})
}

// The window of a connection that is being left stalls as well, and goes to the worker's
// present target. A target was once chosen then, remembered, and dialled long afterwards, even
// if it was down.
func TestStallTargetIsNotRemembered(t *testing.T) {
	inBubble(t, "the choice is not remembered", func(t *testing.T) {
		for range 20 {
			a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
			a.onAccept = func(conn *peerConn) { conn.ackLimit = 500 }
			r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b, c}, 0, 1, 2)
			for a.conn(0).state().acked == len(a.conn(0).state().sent) {
				r.send(10, 100)
				r.pass(time.Millisecond)
			}
			r.pass(2 * time.Second)
			a.set(func() { a.refuse = true })
			a.conn(0).sendFIN()
			r.pass(time.Second)
			at, other := b, c
			if b.conn(1) == nil {
				at, other = c, b
			}
			r.pass(31 * time.Second)
			if !a.conn(0).state().closed {
				t.Fatal("the stalled connection is still waited for")
			}
			dials, others := at.dialled(), other.dialled()
			at.conn(1).reset()
			r.pass(2 * delivery.InitialDelay)
			if at.dialled() != dials || other.dialled() != others+1 {
				t.Errorf("after a failure: %d dials of the same target, %d of the other",
					at.dialled()-dials, other.dialled()-others)
			}
			r.finish(time.Second)
		}
	})
}

func TestLeftWindowDoesNotMoveToSameTarget(t *testing.T) {
	inBubble(t, "not to the same stalled target", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0, 1)
		r.pass(2 * time.Second)
		a.set(func() { a.holdReads, a.recvBuf = true, 500 })
		for a.conn(0).state().acked == len(a.conn(0).state().sent) {
			r.send(10, 100)
			r.pass(time.Millisecond)
		}
		a.conn(0).sendFIN()
		r.pass(time.Second)
		for a.conn(1).state().acked == len(a.conn(1).state().sent) {
			r.send(10, 100) // the connection beside it stalls as well
			r.pass(time.Millisecond)
		}
		r.pass(3 * time.Minute)
		// The window of either may go to b, once, but not from one connection of a to the
		// other.
		first, second := map[int]bool{}, 0
		for seq := range a.conn(0).sequenceSent() {
			first[seq] = true
		}
		for seq := range a.conn(1).sequenceSent() {
			if first[seq] {
				second++
			}
		}
		if second > 0 {
			t.Errorf("%d lines went from one stalled connection to another at the same target", second)
		}
		a.set(func() { a.holdReads = false })
		r.finish(10 * time.Second)
	})
}
