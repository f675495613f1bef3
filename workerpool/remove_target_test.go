package workerpool

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

func TestRemovedTargetLeavesItsCounts(t *testing.T) {
	inBubble(t, "under load, its counts stay", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		r := newRig(t, Options{Connections: 2}, []*peer{a, b, c})
		for range 30 {
			r.sendFullBuffers()
			r.pass(10 * time.Millisecond)
		}
		a.conn(0).reset() // some lines are resent
		r.pass(10 * time.Millisecond)
		before, _ := r.stats(a)
		r.must(r.pool.Remove(a.target()))
		for range 30 {
			r.sendFullBuffers()
			r.pass(10 * time.Millisecond)
		}
		r.pass(target.Tick)
		r.wantGone(a)
		s := r.checkedStats()
		if len(s.Targets) != 2 || s.Targets[0].Name != b.target() || r.workers() != 4 {
			t.Errorf("%d workers, %+v", r.workers(), s.Targets)
		}
		if s.Removed.Confirmed.Lines == 0 || s.Removed.Confirmed.Lines < before.Confirmed.Lines ||
			!slices.Equal(s.Removed.Resent, before.Resent) {
			t.Errorf("removed: %+v, before that: %+v", s.Removed, before)
		}
		r.wantErr(r.pool.Resume(a.target()), target.ErrUnknown)
		r.wantErr(r.pool.Drain(a.target()), target.ErrUnknown)
		r.wantErr(r.pool.Remove(a.target()), target.ErrUnknown)

		r.must(r.pool.Add(a.addr))
		for range 30 {
			r.sendFullBuffers()
			r.pass(10 * time.Millisecond)
		}
		s = r.pass(time.Second)
		if at := s.Targets[2]; at.Name != a.target() || at.State != target.StateUp || at.Connections != 2 {
			t.Errorf("added again: %+v", at)
		}
		r.finish(time.Second)
	})
}

func TestIdleTargetIsRemovedAtOnce(t *testing.T) {
	inBubble(t, "one that is down, with nothing in its windows, at once", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{}, []*peer{a, b})
		b.set(func() { b.refuse = true; b.conns[0].failLocked(errReset) })
		r.pass(time.Minute)
		r.must(r.pool.Remove(a.target()))
		synctest.Wait()
		r.wantGone(a)
		b.set(func() { b.refuse = false })
		r.pass(2 * delivery.MaxDelay)
		r.finish(time.Second)
	})
	inBubble(t, "one whose dial hangs, at once", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.hang = true
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Minute)
		r.must(r.pool.Remove(a.target()))
		synctest.Wait()
		r.wantGone(a)
		r.finish(time.Second)
	})
	inBubble(t, "with displaced workers connected to it and away from it", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse = true
		r := newRig(t, Options{Connections: 4, Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b, c})
		r.pass(time.Second)
		r.sendFullBuffers()
		r.pass(time.Second)
		r.must(r.pool.Remove(b.target()))
		r.pass(time.Second)
		r.wantGone(b)
		r.must(r.pool.Remove(a.target()))
		r.pass(time.Second)
		r.wantGone(a)
		s := r.checkedStats()
		if n := s.Targets[0].Connections; n != 4 || r.workers() != 4 {
			t.Errorf("%d connections, %d workers", n, r.workers())
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

func TestRemoveWaitsForLines(t *testing.T) {
	inBubble(t, "one whose lines wait for another", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(2 * time.Second)
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		a.set(func() { a.refuse = true })
		b.set(func() { b.refuse = true })
		a.conn(0).reset()
		b.conn(0).reset()
		r.pass(time.Minute)
		r.must(r.pool.Remove(a.target()))
		r.pass(time.Minute)
		r.wantState(a, target.StateDrained)
		if s, _ := r.stats(a); !s.Removing {
			t.Errorf("%+v", s)
		}
		b.set(func() { b.refuse = false })
		r.pass(2 * delivery.MaxDelay)
		r.wantGone(a)
		r.finish(time.Second)
	})
	inBubble(t, "slow is not hanging", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		for a.bytes() < 3000 {
			r.sendUntilTaken(a)
		}
		r.must(r.pool.Remove(a.target()))
		for range 10 {
			r.pass(35 * time.Second)
			r.wantState(a, target.StateDraining)
			a.conn(0).do(func() { a.holdReads, a.conns[0].readLimit = false, a.conns[0].read+100 })
		}
		a.conn(0).ackTo(noLimit, noLimit)
		r.pass(time.Second)
		r.wantGone(a)
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "in the middle of the drain of all", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		r.must(r.pool.Remove(a.target()))
		close(r.lines)
		r.pass(time.Minute)
		a.set(func() { a.holdReads = false })
		r.wantEnd(t, time.Second)
		r.wantOnce()
	})
}

func TestRemoveGivesUpHangingTarget(t *testing.T) {
	inBubble(t, "one that hangs: its window is resent after the timeout", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		a.set(func() { a.holdReads = true }) // its kernel takes and acknowledges everything
		r.sendUntilTaken(a)
		r.must(r.pool.Remove(a.target()))
		r.wantResent(r.pass(39*time.Second), 0, 0)
		r.wantState(a, target.StateDraining)
		s := r.pass(2 * time.Second)
		r.wantResent(s, 0, a.bytes()/100)
		r.wantGone(a)
		r.finish(time.Second)
	})
	inBubble(t, "one that hangs while no other is up is waited for", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(2 * time.Second)
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		b.set(func() { b.refuse = true })
		b.conn(0).exit()
		r.pass(5 * time.Second)
		r.must(r.pool.Remove(a.target()))
		s := r.pass(10 * time.Minute)
		if _, unread := s.resent(); unread.Lines > uint64(r.seq)-uint64(a.bytes()/100) {
			t.Errorf("%d of %d lines resent", unread.Lines, r.seq)
		}
		r.wantState(a, target.StateDraining)
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		r.wantGone(a)
		b.set(func() { b.refuse = false })
		r.pass(2 * delivery.MaxDelay)
		r.finish(time.Second)
	})
	inBubble(t, "one with a write that never ends", func(t *testing.T) {
		r, a, _ := stalledPair(t, Options{})
		r.must(r.pool.Remove(a.target()))
		r.pass(31 * time.Second) // the stall timeout has passed, and b confirms
		r.wantGone(a)
		if !a.conn(0).state().aborted {
			t.Error("not aborted")
		}
		r.finish(time.Second)
	})
	inBubble(t, "one that does not answer at all", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour, DeadTimeout: 20 * time.Second}}, []*peer{a, b})
		a.set(func() { a.holdAcks = true })
		r.sendUntilTaken(a)
		a.conn(0).vanish()
		r.must(r.pool.Remove(a.target()))
		r.pass(21 * time.Second)
		r.wantGone(a)
		r.finish(time.Second)
	})
}

func TestMemorySharesFollowTargets(t *testing.T) {
	inBubble(t, "shares shrink and grow again", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{Connections: 8}, []*peer{a})
		var added []*peer
		for i := range 7 {
			added = append(added, r.addPeer(fmt.Sprint("x", i)))
			r.must(r.pool.Add(added[i].addr))
		}
		if got := r.pool.settings.Load().windowMax; got != 2<<20 {
			t.Errorf("windowMax %d with 64 workers", got)
		}
		if n := r.log.count("memory is shared by many connections: each retains less than -resend-max"); n == 0 {
			t.Error("no warning was logged")
		}
		r.pass(time.Second)
		for _, p := range added {
			r.must(r.pool.Remove(p.target()))
		}
		r.pass(time.Second)
		if got := r.pool.settings.Load().windowMax; got != 8<<20 {
			t.Errorf("windowMax %d with 8 workers", got)
		}
		r.finish(time.Second)
	})
}

func TestLastTargetCannotBeRemoved(t *testing.T) {
	inBubble(t, "cannot be removed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.pass(time.Second)
		r.wantErr(r.pool.Remove(a.target()), target.ErrLast) // the other takes no lines
		r.must(r.pool.Remove(b.target()))
		r.pass(time.Second)
		r.wantErr(r.pool.Remove(a.target()), target.ErrLast)
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		r.wantErr(r.pool.Remove(a.target()), target.ErrLast) // no target would be left
		r.must(r.pool.Add(b.addr))
		r.pass(time.Second)
		r.must(r.pool.Remove(a.target()))
		r.pass(time.Second)
		r.wantGone(a)
		r.finish(time.Second)
	})
	inBubble(t, "nor the last besides one that is being removed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		r.must(r.pool.Remove(a.target()))
		r.must(r.pool.Drain(b.target()))
		r.wantErr(r.pool.Remove(b.target()), target.ErrLast)
		r.must(r.pool.Remove(a.target())) // removing twice is no error
		r.must(r.pool.Resume(b.target()))
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		r.wantGone(a)
		r.finish(time.Second)
	})
}
