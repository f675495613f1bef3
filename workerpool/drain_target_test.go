package workerpool

import (
	"sync"
	"testing"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

func TestDrainedTargetGetsNothingNew(t *testing.T) {
	inBubble(t, "under load no line is lost or sent twice", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 3}, []*peer{a, b})
		a.set(func() { a.recvBuf, a.sendBuf, a.holdReads = 3000, 3000, true })
		for range 30 {
			r.sendFullBuffers()
			r.pass(10 * time.Millisecond)
		}
		r.must(r.pool.Drain(a.target()))
		for range 30 {
			r.sendFullBuffers()
			r.pass(10 * time.Millisecond)
		}
		r.wantState(a, target.StateDraining)
		a.set(func() { a.holdReads = false })
		r.pass(3 * target.Tick)
		r.wantState(a, target.StateDrained)
		r.wantLeft(a)
		before := a.bytes()
		if before == 0 {
			t.Fatal("a got nothing: the test proves nothing")
		}
		for range 10 {
			r.sendFullBuffers()
			r.pass(time.Second)
		}
		r.wantState(a, target.StateDrained)
		if n := a.bytes() - before; n != 0 {
			t.Errorf("%d bytes after it was drained", n)
		}
		r.wantDials(a, 3)
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "before Run", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		p := New(r.buffers, r.o)
		r.must(p.Drain(a.target()))
		if s := p.Stats().Targets; s[0].State != target.StateDrained || s[1].State != target.StateUnknown {
			t.Errorf("%+v", s)
		}
		r.must(p.Remove(a.target()))
		r.wantErr(p.Remove(b.target()), target.ErrLast)
		r.must(p.Add(a.addr))
		if s := p.Stats().Targets; len(s) != 2 || s[0].Name != b.target() || s[1].State != target.StateUnknown {
			t.Errorf("%+v", s)
		}
		r.finish(time.Second)
	})
}

func TestDrainWaitsForWindows(t *testing.T) {
	inBubble(t, "the pool waits for its windows", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		r.must(r.pool.Drain(a.target()))
		s, _ := r.pass(10*time.Minute), 0
		at := s.Targets[0]
		if at.State != target.StateDraining || at.Retained.Lines == 0 || at.Connections != 1 ||
			time.Since(at.Since) != 10*time.Minute {
			t.Errorf("%+v", at)
		}
		if c := a.conn(0).state(); !c.halfClosed || c.closed {
			t.Errorf("half-closed %v, closed %v", c.halfClosed, c.closed)
		}
		a.set(func() { a.holdReads = false })
		s = r.pass(time.Second)
		at = s.Targets[0]
		if at.State != target.StateDrained || at.Retained.Lines != 0 || at.Retained.Bytes != 0 ||
			at.Connections != 0 || time.Since(at.Since) > time.Second {
			t.Errorf("%+v", at)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "a failed window goes elsewhere, and the worker pauses again", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		lost := a.bytes()
		a.conn(0).reset()
		r.pass(time.Second)
		r.wantDials(a, 1)
		r.wantDials(b, 2)
		r.wantResent(r.checkedStats(), 0, lost/100)
		if c := b.conn(1).state(); len(c.sent) != lost || !c.closed || c.aborted {
			t.Errorf("%d of %d bytes elsewhere, closed %v, aborted %v", len(c.sent), lost, c.closed, c.aborted)
		}
		r.wantState(a, target.StateDrained)
		r.finish(time.Second)
	})
}

func TestDrainMovesDisplacedWorkers(t *testing.T) {
	inBubble(t, "displaced workers move on without a failover", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b, c}, 0)
		r.pass(time.Second)
		at, other := b, c
		if b.conn(0) == nil {
			at, other = c, b
		}
		r.sendFullBuffers()
		r.pass(time.Second)
		r.must(r.pool.Drain(at.target()))
		r.pass(time.Second)
		r.wantState(at, target.StateDrained)
		r.wantLeft(at)
		r.sendFullBuffers()
		s := r.pass(time.Second)
		if n := other.bytes(); n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
		r.wantDials(a, 1)
		if n := s.Targets[1].Failovers + s.Targets[2].Failovers; n != 0 {
			t.Errorf("%d failovers counted", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "displaced workers wait if there is no other target", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b}, 0)
		r.sendFullBuffers()
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.pass(time.Second)
		r.wantState(b, target.StateDrained)
		r.sendFullBuffers()
		r.pass(time.Minute)
		if n := b.bytes(); n != 10_000 {
			t.Errorf("%d bytes at the one that is drained", n)
		}
		a.set(func() { a.refuse = false })
		r.pass(2 * delivery.MaxDelay)
		if n := a.bytes(); n != 10_000 {
			t.Errorf("%d bytes at home", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

func TestWorkersOfDrainedTargetRest(t *testing.T) {
	inBubble(t, "its own workers pause, wherever they are", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Minute}}, []*peer{a, b, c}, 0)
		r.sendFullBuffers()
		r.pass(time.Second)
		r.must(r.pool.Drain(a.target()))
		r.pass(target.Tick)
		r.wantState(a, target.StateDrained)
		r.wantLeft(b)
		r.wantLeft(c)
		a.set(func() { a.refuse = false })
		r.sendFullBuffers()
		dials := a.dialled() + b.dialled() + c.dialled()
		s := r.pass(time.Hour)
		if s.Taken.Lines != 100 || a.dialled()+b.dialled()+c.dialled() != dials {
			t.Errorf("%d lines taken, %d dials", s.Taken.Lines, a.dialled()+b.dialled()+c.dialled()-dials)
		}
		r.must(r.pool.Resume(a.target()))
		r.pass(time.Second)
		if n := a.bytes(); n != 10_000 {
			t.Errorf("%d bytes at home when resumed", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "a paused worker takes nothing while a sender waits", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		b.sendBuf, b.holdAcks = 50, true
		r := newUnbufferedRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		var sender sync.WaitGroup
		sender.Go(r.sendFullBuffers)
		if s := r.pass(time.Minute); s.Taken.Lines != 10 {
			t.Errorf("%d lines taken, want the buffer that b has begun", s.Taken.Lines)
		}
		b.set(func() { b.holdAcks = false })
		sender.Wait()
		r.wantDials(b, 1)
		r.finish(3 * target.Tick)
		r.wantOnce()
	})
	inBubble(t, "a worker is paused when the lines end", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 4}, []*peer{a, b})
		r.must(r.pool.Drain(a.target()))
		r.sendFullBuffers()
		r.pass(time.Second)
		r.finish(3 * target.Tick)
		r.wantOnce()
	})
}

func TestDrainDuringWrite(t *testing.T) {
	inBubble(t, "in the middle of a write", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		for _, p := range r.peers {
			p.set(func() { p.sendBuf, p.holdAcks = 550, true })
			r.blockWrite(p.conn(0))
		}
		r.must(r.pool.Drain(a.target()))
		r.sendFullBuffers()
		r.pass(time.Minute)
		a.set(func() { a.holdAcks = false })
		r.pass(time.Second)
		r.wantLeft(a)
		if n := a.bytes(); n != 1000 {
			t.Errorf("%d bytes there, want the buffer that was begun", n)
		}
		b.set(func() { b.holdAcks = false })
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "in the middle of a displaced worker's write", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse, c.refuse = true, true
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour, FailbackInterval: time.Hour}},
			[]*peer{a, b, c}, 0)
		r.pass(5 * time.Second)
		b.set(func() { b.sendBuf, b.holdAcks = 550, true })
		c.set(func() { c.refuse = false })
		r.sendFullBuffers()
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.pass(time.Minute)
		r.must(r.pool.Resume(b.target())) // the worker may stay or return, but must go on
		b.set(func() { b.holdAcks = false })
		r.pass(2 * delivery.MaxDelay)
		if n := len(r.lines); n > 0 {
			t.Errorf("%d buffers are still not taken", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

func TestDrainDuringDial(t *testing.T) {
	inBubble(t, "while it is being dialled", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.delay = 10 * time.Second
		r := newRig(t, Options{}, []*peer{a, b})
		r.must(r.pool.Drain(a.target()))
		r.wantState(a, target.StateDrained)
		r.sendFullBuffers()
		r.pass(20 * time.Second)
		if c := a.conn(0).state(); !c.closed || len(c.sent) > 0 {
			t.Errorf("the late connection: closed %v, %d bytes", c.closed, len(c.sent))
		}
		r.wantState(a, target.StateDrained)
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "a displaced worker's dial comes too late", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse, c.refuse = true, true
		b.delay = 10 * time.Second
		r := newRig(t, Options{}, []*peer{a, b, c}, 0)
		r.pass(time.Second)
		if b.dialled() == 0 {
			r.pass(time.Second)
		}
		c.set(func() { c.refuse = false })
		r.must(r.pool.Drain(b.target()))
		r.sendFullBuffers()
		r.pass(20 * time.Second)
		if n := b.bytes(); n != 0 {
			t.Errorf("%d bytes at the one that is drained", n)
		}
		if n := c.bytes(); n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "a dial that is no longer needed has no effect", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse, b.delay = true, 10*time.Second
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		r.pass(5 * time.Second)
		r.must(r.pool.Drain(a.target()))
		r.pass(20 * time.Second)
		if c := b.conn(0); c == nil || !c.state().closed {
			t.Error("no late connection, or an open one")
		}
		if n := r.log.count("moved on") + r.log.count("failed over"); n != 0 {
			t.Error("a paused worker logged a move")
		}
		r.must(r.pool.Resume(a.target()))
		r.pass(time.Second)
		r.finish(time.Second)
	})
}

func TestLinesWaitWhileAllTargetsAreDrained(t *testing.T) {
	inBubble(t, "lines wait and go on after Resume", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 2}, []*peer{a, b})
		r.sendFullBuffers()
		r.pass(time.Second)
		for _, p := range r.peers {
			r.must(r.pool.Drain(p.target()))
		}
		r.pass(target.Tick)
		r.sendFullBuffers()
		s := r.pass(time.Hour)
		if s.Taken.Lines != 100 || len(r.lines) != 10 {
			t.Errorf("%d lines taken, %d buffers wait", s.Taken.Lines, len(r.lines))
		}
		r.wantState(a, target.StateDrained)
		r.wantState(b, target.StateDrained)
		r.must(r.pool.Resume(b.target()))
		r.pass(target.Tick)
		if n := len(r.lines); n > 0 {
			t.Errorf("%d buffers wait after Resume", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "nothing is left when the lines end", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.sendFullBuffers()
		r.pass(time.Second)
		for _, p := range r.peers {
			r.must(r.pool.Drain(p.target()))
		}
		r.pass(time.Second)
		r.finish(3 * target.Tick)
		r.wantOnce()
	})
}

func TestLastLinesWaitForResume(t *testing.T) {
	inBubble(t, "lines are left when the channel is closed", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.must(r.pool.Drain(a.target()))
		r.sendFullBuffers()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Hour)
		if n := len(r.lines); n != 10 {
			t.Errorf("%d buffers left", n)
		}
		r.must(r.pool.Resume(a.target()))
		r.wantEnd(t, time.Second)
		r.wantOnce()
	})
	inBubble(t, "lines to be resent are left when the channel is closed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		for _, p := range r.peers {
			r.must(r.pool.Drain(p.target()))
		}
		r.pass(time.Second)
		a.conn(0).reset()
		close(r.lines)
		r.pass(time.Minute)
		r.wantState(a, target.StateDrained)
		r.wantErr(r.pool.Drain(b.target()), ErrEnding)
		r.must(r.pool.Resume(b.target()))
		r.wantEnd(t, 2*delivery.MaxDelay)
	})
}
