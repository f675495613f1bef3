package workerpool

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

func (p *peer) target() string { return p.addr.String() }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wantErr(got, want error) {
	r.t.Helper()
	if !errors.Is(got, want) {
		r.t.Errorf("%v, want %v", got, want)
	}
}

// stats returns what is known of one target, and whether it is listed.
func (r *rig) stats(p *peer) (TargetStats, bool) {
	r.t.Helper()
	s := r.ledger()
	for _, x := range s.Targets {
		if x.Name == p.target() {
			return x, true
		}
	}
	return TargetStats{}, false
}

func (r *rig) wantState(p *peer, want string) {
	r.t.Helper()
	if s, _ := r.stats(p); s.State != want {
		r.t.Fatalf("%s is %q, want %q: %+v", p.name, s.State, want, s)
	}
}

func (r *rig) wantGone(p *peer) {
	r.t.Helper()
	if s, listed := r.stats(p); listed {
		r.t.Fatalf("%s is still listed: %+v", p.name, s)
	}
	for _, x := range r.pool.Targets() {
		if x.String() == p.target() {
			r.t.Fatalf("%s is still among the targets", p.name)
		}
	}
}

// wantLeft demands that all connections of a target were left in order, and none failed.
func (r *rig) wantLeft(p *peer) {
	r.t.Helper()
	for i := range p.conns {
		if c := p.conn(i).state(); !c.halfClosed || !c.closed || c.aborted {
			r.t.Fatalf("%s[%d]: half-closed %v, closed %v, aborted %v", p.name, i, c.halfClosed, c.closed, c.aborted)
		}
	}
}

// once demands that no line was lost and none came twice.
func (r *rig) once() {
	r.t.Helper()
	times, total := r.received()
	if len(times) != r.seq || total != r.seq {
		r.t.Fatalf("%d lines sent, %d received, %d times", r.seq, len(times), total)
	}
	r.wantResent(r.pool.Stats(), 0, 0)
}

func (p *peer) bytes() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		n += len(c.sent)
	}
	return n
}

func (r *rig) workers() int {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return len(r.pool.crew)
}

func TestDrainTarget(t *testing.T) {
	settled(t, "under load: nothing lost, nothing twice, nothing new", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 3}, []*peer{a, b})
		a.set(func() { a.recvBuf, a.sendBuf, a.holdReads = 3000, 3000, true })
		for range 30 {
			r.bigLines()
			r.pass(10 * time.Millisecond)
		}
		r.must(r.pool.Drain(a.target()))
		for range 30 {
			r.bigLines()
			r.pass(10 * time.Millisecond)
		}
		r.wantState(a, target.StateDraining)
		a.set(func() { a.holdReads = false })
		r.pass(3 * target.Tick)
		r.wantState(a, target.StateDrained)
		r.wantLeft(a)
		before := a.bytes()
		if before == 0 {
			t.Fatal("a got nothing: the test is of no use")
		}
		for range 10 {
			r.bigLines()
			r.pass(time.Second)
		}
		r.wantState(a, target.StateDrained)
		if n := a.bytes() - before; n != 0 {
			t.Errorf("%d bytes after it was drained", n)
		}
		r.wantDials(a, 3)
		r.finish(time.Second)
		r.once()
	})
	settled(t, "its windows are waited for", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
		r.must(r.pool.Drain(a.target()))
		s, _ := r.pass(10*time.Minute), 0
		at := s.Targets[0]
		if at.State != target.StateDraining || at.Retained.Lines == 0 || at.Connections != 1 || time.Since(at.Since) != 10*time.Minute {
			t.Errorf("%+v", at)
		}
		if c := a.conn(0).state(); !c.halfClosed || c.closed {
			t.Errorf("half-closed %v, closed %v", c.halfClosed, c.closed)
		}
		a.set(func() { a.holdReads = false })
		s = r.pass(time.Second)
		at = s.Targets[0]
		if at.State != target.StateDrained || at.Retained.Lines != 0 || at.Retained.Bytes != 0 || at.Connections != 0 || time.Since(at.Since) > time.Second {
			t.Errorf("%+v", at)
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "displaced workers move on, and that is no failover", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b, c}, 0)
		r.pass(time.Second)
		at, other := b, c
		if b.conn(0) == nil {
			at, other = c, b
		}
		r.bigLines()
		r.pass(time.Second)
		r.must(r.pool.Drain(at.target()))
		r.pass(time.Second)
		r.wantState(at, target.StateDrained)
		r.wantLeft(at)
		r.bigLines()
		s := r.pass(time.Second)
		if n := other.bytes(); n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
		r.wantDials(a, 1)
		if n := s.Targets[1].Failovers + s.Targets[2].Failovers; n != 0 {
			t.Errorf("%d failovers counted", n)
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "displaced workers wait where there is nowhere to go", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b}, 0)
		r.bigLines()
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.pass(time.Second)
		r.wantState(b, target.StateDrained)
		r.bigLines()
		r.pass(time.Minute)
		if n := b.bytes(); n != 10_000 {
			t.Errorf("%d bytes at the one that is drained", n)
		}
		a.set(func() { a.refuse = false })
		r.pass(2 * lastDelay)
		if n := a.bytes(); n != 10_000 {
			t.Errorf("%d bytes at home", n)
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "its own workers rest, wherever they are", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Minute}}, []*peer{a, b, c}, 0)
		r.bigLines()
		r.pass(time.Second)
		r.must(r.pool.Drain(a.target()))
		r.pass(target.Tick)
		r.wantState(a, target.StateDrained)
		r.wantLeft(b)
		r.wantLeft(c)
		a.set(func() { a.refuse = false })
		r.bigLines()
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
		r.once()
	})
	settled(t, "what fails there goes elsewhere, and the worker rests again", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		lost := a.bytes()
		a.conn(0).reset()
		r.pass(time.Second)
		r.wantDials(a, 1)
		r.wantDials(b, 2)
		r.wantResent(r.quiet(), 0, lost/100)
		if c := b.conn(1).state(); len(c.sent) != lost || !c.closed || c.aborted {
			t.Errorf("%d of %d bytes elsewhere, closed %v, aborted %v", len(c.sent), lost, c.closed, c.aborted)
		}
		r.wantState(a, target.StateDrained)
		r.finish(time.Second)
	})
	settled(t, "in the middle of a write", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		for _, p := range r.peers {
			p.set(func() { p.sendBuf, p.holdAcks = 550, true })
			r.block(p.conn(0))
		}
		r.must(r.pool.Drain(a.target()))
		r.bigLines()
		r.pass(time.Minute)
		a.set(func() { a.holdAcks = false })
		r.pass(time.Second)
		r.wantLeft(a)
		if n := a.bytes(); n != 1000 {
			t.Errorf("%d bytes there, want the buffer that was begun", n)
		}
		b.set(func() { b.holdAcks = false })
		r.finish(time.Second)
		r.once()
	})
	settled(t, "in the middle of a displaced worker's write", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse, c.refuse = true, true
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour, FailbackInterval: time.Hour}}, []*peer{a, b, c}, 0)
		r.pass(5 * time.Second)
		b.set(func() { b.sendBuf, b.holdAcks = 550, true })
		c.set(func() { c.refuse = false })
		r.bigLines()
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.pass(time.Minute)
		r.must(r.pool.Resume(b.target())) // the worker may stay or come again, but must go on
		b.set(func() { b.holdAcks = false })
		r.pass(2 * lastDelay)
		if n := len(r.lines); n > 0 {
			t.Errorf("%d buffers are still not taken", n)
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "while it is being dialled", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.delay = 10 * time.Second
		r := newRig(t, Options{}, []*peer{a, b})
		r.must(r.pool.Drain(a.target()))
		r.wantState(a, target.StateDrained)
		r.bigLines()
		r.pass(20 * time.Second)
		if c := a.conn(0).state(); !c.closed || len(c.sent) > 0 {
			t.Errorf("the late connection: closed %v, %d bytes", c.closed, len(c.sent))
		}
		r.wantState(a, target.StateDrained)
		r.finish(time.Second)
		r.once()
	})
	settled(t, "a displaced worker's dial comes too late", func(t *testing.T) {
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
		r.bigLines()
		r.pass(20 * time.Second)
		if n := b.bytes(); n != 0 {
			t.Errorf("%d bytes at the one that is drained", n)
		}
		if n := c.bytes(); n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "the last one: lines wait", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 2}, []*peer{a, b})
		r.bigLines()
		r.pass(time.Second)
		for _, p := range r.peers {
			r.must(r.pool.Drain(p.target()))
		}
		r.pass(target.Tick)
		r.bigLines()
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
		r.once()
	})
	settled(t, "all, and the end", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.bigLines()
		r.pass(time.Second)
		for _, p := range r.peers {
			r.must(r.pool.Drain(p.target()))
		}
		r.pass(time.Second)
		r.finish(3 * target.Tick)
		r.once()
	})
	settled(t, "all, and the end with lines left", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.must(r.pool.Drain(a.target()))
		r.bigLines()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Hour)
		if n := len(r.lines); n != 10 {
			t.Errorf("%d buffers left", n)
		}
		r.must(r.pool.Resume(a.target()))
		r.ended(t, time.Second)
		r.once()
	})
	settled(t, "all, while the last lines wait to be sent again", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
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
		r.ended(t, 2*lastDelay)
	})
	settled(t, "one rests when the end comes", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Connections: 4}, []*peer{a, b})
		r.must(r.pool.Drain(a.target()))
		r.bigLines()
		r.pass(time.Second)
		r.finish(3 * target.Tick)
		r.once()
	})
	settled(t, "a worker that rests takes nothing, though a sender waits", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		b.sendBuf, b.holdAcks = 50, true
		r := newUnbufferedRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		var sender sync.WaitGroup
		sender.Go(r.bigLines)
		if s := r.pass(time.Minute); s.Taken.Lines != 10 {
			t.Errorf("%d lines taken, want the buffer that b has begun", s.Taken.Lines)
		}
		b.set(func() { b.holdAcks = false })
		sender.Wait()
		r.wantDials(b, 1)
		r.finish(3 * target.Tick)
		r.once()
	})
	settled(t, "a dial that is not needed any more counts for nothing", func(t *testing.T) {
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
			t.Error("the worker says that it has moved, and it rests")
		}
		r.must(r.pool.Resume(a.target()))
		r.pass(time.Second)
		r.finish(time.Second)
	})
	settled(t, "before Run", func(t *testing.T) {
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

// takenBy sends until a target has something that it does not read.
func (r *rig) takenBy(p *peer) {
	r.t.Helper()
	for range 1000 {
		r.send(10, 100)
		r.pass(time.Millisecond)
		if p.bytes() > 0 {
			return
		}
	}
	r.t.Fatalf("%s gets nothing: the test is of no use", p.name)
}

func TestResumeTarget(t *testing.T) {
	settled(t, "while its windows are waited for", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		r.must(r.pool.Resume(a.target()))
		r.pass(time.Second)
		r.wantState(a, target.StateUp)
		r.wantDials(a, 2)
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		if c := a.conn(0).state(); !c.closed || c.aborted {
			t.Errorf("the one that was left: closed %v, aborted %v", c.closed, c.aborted)
		}
		before := a.bytes()
		for range 100 {
			r.bigLines()
			r.pass(time.Millisecond)
		}
		if a.bytes() == before {
			t.Error("gets nothing after Resume")
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "again and again, while it is slow", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		most := 0
		for range 3 * maxLeaving {
			r.bigLines()
			r.pass(time.Second)
			r.must(r.pool.Drain(a.target()))
			r.pass(time.Second)
			s, _ := r.stats(a)
			most = max(most, s.Connections)
			r.must(r.pool.Resume(a.target()))
			r.pass(time.Second)
		}
		if most > maxLeaving+1 {
			t.Errorf("%d connections at a time", most)
		}
		a.set(func() { a.holdReads = false })
		r.pass(3 * time.Second)
		r.finish(time.Second)
		r.once()
	})
	settled(t, "while it is being removed", func(t *testing.T) {
		for _, add := range []bool{false, true} {
			a, b := newPeer("a"), newPeer("b")
			r := newRig(t, Options{Connections: 3, Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
			a.set(func() { a.holdReads = true })
			r.takenBy(a)
			r.must(r.pool.Remove(a.target()))
			r.pass(time.Minute) // some workers have something left and some are gone
			if n := r.workers(); n >= 6 || n <= 3 {
				t.Errorf("%d workers", n)
			}
			r.wantState(a, target.StateDraining)
			if add {
				r.must(r.pool.Add(a.addr))
			} else {
				r.must(r.pool.Resume(a.target()))
			}
			r.pass(time.Second)
			r.wantState(a, target.StateUp)
			if n := r.workers(); n != 6 {
				t.Errorf("%d workers", n)
			}
			a.set(func() { a.holdReads = false })
			r.bigLines()
			r.pass(time.Minute)
			r.wantState(a, target.StateUp)
			r.finish(time.Second)
			r.once()
		}
	})
	settled(t, "goes home at once, whatever failed before", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b})
		r.pass(time.Minute)
		r.must(r.pool.Drain(a.target()))
		r.pass(time.Second)
		a.set(func() { a.refuse = false })
		r.must(r.pool.Resume(a.target()))
		r.pass(target.Tick)
		r.wantState(a, target.StateUp)
		if s, _ := r.stats(a); s.Connections != 1 {
			t.Errorf("%+v", s)
		}
		r.finish(time.Second)
	})
}

func TestRemoveTarget(t *testing.T) {
	settled(t, "under load, and what it counted stays", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		r := newRig(t, Options{Connections: 2}, []*peer{a, b, c})
		for range 30 {
			r.bigLines()
			r.pass(10 * time.Millisecond)
		}
		a.conn(0).reset() // something is resent
		r.pass(10 * time.Millisecond)
		before, _ := r.stats(a)
		r.must(r.pool.Remove(a.target()))
		for range 30 {
			r.bigLines()
			r.pass(10 * time.Millisecond)
		}
		r.pass(target.Tick)
		r.wantGone(a)
		s := r.quiet()
		if len(s.Targets) != 2 || s.Targets[0].Name != b.target() || r.workers() != 4 {
			t.Errorf("%d workers, %+v", r.workers(), s.Targets)
		}
		if s.Removed.Confirmed.Lines == 0 || s.Removed.Confirmed.Lines < before.Confirmed.Lines || !slices.Equal(s.Removed.Resent, before.Resent) {
			t.Errorf("removed: %+v, before that: %+v", s.Removed, before)
		}
		r.wantErr(r.pool.Resume(a.target()), target.ErrUnknown)
		r.wantErr(r.pool.Drain(a.target()), target.ErrUnknown)
		r.wantErr(r.pool.Remove(a.target()), target.ErrUnknown)

		r.must(r.pool.Add(a.addr))
		for range 30 {
			r.bigLines()
			r.pass(10 * time.Millisecond)
		}
		s = r.pass(time.Second)
		if at := s.Targets[2]; at.Name != a.target() || at.State != target.StateUp || at.Connections != 2 {
			t.Errorf("added again: %+v", at)
		}
		r.finish(time.Second)
	})
	settled(t, "one that is down, with nothing in its windows, at once", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{}, []*peer{a, b})
		b.set(func() { b.refuse = true; b.conns[0].failLocked(errReset) })
		r.pass(time.Minute)
		r.must(r.pool.Remove(a.target()))
		synctest.Wait()
		r.wantGone(a)
		b.set(func() { b.refuse = false })
		r.pass(2 * lastDelay)
		r.finish(time.Second)
	})
	settled(t, "one whose lines wait for another", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(2 * time.Second)
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
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
		r.pass(2 * lastDelay)
		r.wantGone(a)
		r.finish(time.Second)
	})
	settled(t, "one whose dial hangs, at once", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.hang = true
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Minute)
		r.must(r.pool.Remove(a.target()))
		synctest.Wait()
		r.wantGone(a)
		r.finish(time.Second)
	})
	settled(t, "one that hangs: its window is sent again after a bound", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		a.set(func() { a.holdReads = true }) // its kernel takes and acknowledges all
		r.takenBy(a)
		r.must(r.pool.Remove(a.target()))
		r.wantResent(r.pass(39*time.Second), 0, 0)
		r.wantState(a, target.StateDraining)
		s := r.pass(2 * time.Second)
		r.wantResent(s, 0, a.bytes()/100)
		r.wantGone(a)
		r.finish(time.Second)
	})
	settled(t, "slow is not hanging", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		for a.bytes() < 3000 {
			r.takenBy(a)
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
		r.once()
	})
	settled(t, "one that hangs while nobody else is up: waits", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(2 * time.Second)
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
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
		r.pass(2 * lastDelay)
		r.finish(time.Second)
	})
	settled(t, "one in the middle of a write that never ends", func(t *testing.T) {
		r, a, _ := stalledPair(t, Options{})
		r.must(r.pool.Remove(a.target()))
		r.pass(31 * time.Second) // the stall timeout: b confirms
		r.wantGone(a)
		if !a.conn(0).state().aborted {
			t.Error("not aborted")
		}
		r.finish(time.Second)
	})
	settled(t, "one that does not answer at all", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour, DeadTimeout: 20 * time.Second}}, []*peer{a, b})
		a.set(func() { a.holdAcks = true })
		r.takenBy(a)
		a.conn(0).vanish()
		r.must(r.pool.Remove(a.target()))
		r.pass(21 * time.Second)
		r.wantGone(a)
		r.finish(time.Second)
	})
	settled(t, "with displaced workers at it and away from it", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		a.refuse = true
		r := newRig(t, Options{Connections: 4, Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b, c})
		r.pass(time.Second)
		r.bigLines()
		r.pass(time.Second)
		r.must(r.pool.Remove(b.target()))
		r.pass(time.Second)
		r.wantGone(b)
		r.must(r.pool.Remove(a.target()))
		r.pass(time.Second)
		r.wantGone(a)
		s := r.quiet()
		if n := s.Targets[0].Connections; n != 4 || r.workers() != 4 {
			t.Errorf("%d connections, %d workers", n, r.workers())
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "in the middle of the drain of all", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
		r.must(r.pool.Remove(a.target()))
		close(r.lines)
		r.pass(time.Minute)
		a.set(func() { a.holdReads = false })
		r.ended(t, time.Second)
		r.once()
	})
	settled(t, "memory: shares shrink and grow again", func(t *testing.T) {
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
			t.Error("not a word about it")
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

func TestLastTarget(t *testing.T) {
	settled(t, "cannot be removed", func(t *testing.T) {
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
		r.wantErr(r.pool.Remove(a.target()), target.ErrLast) // nobody would be left
		r.must(r.pool.Add(b.addr))
		r.pass(time.Second)
		r.must(r.pool.Remove(a.target()))
		r.pass(time.Second)
		r.wantGone(a)
		r.finish(time.Second)
	})
	settled(t, "nor the last but one that is being removed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
		r.must(r.pool.Remove(a.target()))
		r.must(r.pool.Drain(b.target()))
		r.wantErr(r.pool.Remove(b.target()), target.ErrLast)
		r.must(r.pool.Remove(a.target())) // as ever
		r.must(r.pool.Resume(b.target()))
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		r.wantGone(a)
		r.finish(time.Second)
	})
}

func TestReconfigure(t *testing.T) {
	settled(t, "all at once", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		b := r.addPeer("b")
		r.pass(time.Second)
		r.must(r.pool.Reconfigure(Tuning{StallTimeout: time.Minute}, []target.Address{b.addr, a.addr}, []string{a.target(), "tcp://nobody:1"}))
		r.pass(time.Second)
		r.wantGone(a)
		r.takenBy(b)
		if s := r.pool.settings.Load(); s.StallTimeout != time.Minute {
			t.Errorf("stall timeout %v", s.StallTimeout)
		}
		r.finish(time.Second)
	})
	settled(t, "or not at all", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.wantErr(r.pool.Reconfigure(Tuning{StallTimeout: time.Minute}, []target.Address{b.addr}, []string{a.target()}), target.ErrLast)
		r.wantErr(r.pool.Reconfigure(Tuning{StallTimeout: time.Minute}, nil, []string{a.target(), b.target()}), target.ErrLast)
		r.takenBy(a)
		if s := r.pool.settings.Load(); s.StallTimeout != time.Hour {
			t.Errorf("stall timeout %v", s.StallTimeout)
		}
		r.finish(time.Second)
		r.wantErr(r.pool.Reconfigure(Tuning{}, nil, []string{a.target()}), ErrEnding)
		r.must(r.pool.Reconfigure(Tuning{}, nil, nil))
	})
	settled(t, "takes back one that is being removed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.takenBy(a)
		r.must(r.pool.Remove(a.target()))
		r.must(r.pool.Reconfigure(Tuning{StallTimeout: time.Hour}, []target.Address{a.addr}, []string{b.target()}))
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		r.wantGone(b)
		r.takenBy(a)
		r.finish(time.Second)
	})
}

func TestAddTarget(t *testing.T) {
	settled(t, "gets its share", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{Connections: 2}, []*peer{a})
		r.pass(time.Second)
		b := r.addPeer("b")
		r.must(r.pool.Add(b.addr))
		r.wantErr(r.pool.Add(b.addr), target.ErrExists)
		r.wantErr(r.pool.Add(a.addr), target.ErrExists)
		synctest.Wait()
		r.wantDials(b, 2)
		for range 100 {
			r.bigLines()
			r.pass(time.Millisecond)
		}
		if a.bytes() == 0 || b.bytes() == 0 {
			t.Errorf("%d bytes at a, %d at b", a.bytes(), b.bytes())
		}
		r.finish(time.Second)
		r.once()
	})
	settled(t, "helps when all the others are down", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.bigLines()
		r.pass(time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		r.pass(time.Minute)
		b := r.addPeer("b")
		r.must(r.pool.Add(b.addr))
		r.pass(2 * lastDelay)
		r.wantResent(r.finish(time.Second), 0, 100)
	})
	settled(t, "a refuge for what stalls", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 2000, 2000 })
		r.bigLines()
		r.wantResent(r.pass(10*time.Minute), 0, 0)
		b := r.addPeer("b")
		r.must(r.pool.Add(b.addr))
		r.pass(2 * time.Second)
		if _, unread := r.quiet().resent(); unread.Lines == 0 {
			t.Error("the window has not moved")
		}
		r.finish(time.Second)
	})
	settled(t, "before Run, and at the end", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		p := New(r.buffers, r.o)
		b := newPeer("b")
		r.must(p.Add(b.addr))
		if names := p.Targets(); len(names) != 2 || names[1].String() != b.target() {
			t.Errorf("%v", names)
		}
		a.set(func() { a.holdReads = true })
		r.bigLines()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Second)
		r.wantErr(r.pool.Add(b.addr), ErrEnding)
		r.wantErr(r.pool.Drain(a.target()), ErrEnding)
		r.must(r.pool.Resume(a.target()))
		r.wantErr(r.pool.Remove(a.target()), ErrEnding)
		a.set(func() { a.holdReads = false })
		r.ended(t, time.Second)
		r.wantErr(r.pool.Add(b.addr), ErrEnding)
	})
	settled(t, "after a hard end", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.stop(time.Second)
		r.wantErr(r.pool.Add(newPeer("b").addr), ErrEnding)
	})
}

func TestUnknownTarget(t *testing.T) {
	settled(t, "has no say", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		for _, err := range []error{r.pool.Drain("tcp://x:1"), r.pool.Resume("tcp://x:1"), r.pool.Remove("tcp://x:1")} {
			r.wantErr(err, target.ErrUnknown)
		}
		r.finish(time.Second)
	})
}

func TestTargetStats(t *testing.T) {
	settled(t, "state and last error", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		b.hang = true
		r := newRig(t, Options{}, []*peer{a, b})
		begun := time.Now()
		r.pass(5 * time.Second)
		s := r.quiet().Targets
		if s[0].State != target.StateUp || !s[0].Since.Equal(begun) || s[0].LastError != "" || !s[0].LastErrorAt.IsZero() {
			t.Errorf("%+v", s[0])
		}
		if s[1].State != target.StateUnknown || !s[1].Since.Equal(begun) {
			t.Errorf("%+v", s[1])
		}
		r.must(r.pool.Remove(b.target()))
		a.conn(0).reset()
		failed := time.Now()
		r.pass(time.Second)
		if s := r.quiet().Targets[0]; s.State != target.StateUp || s.LastError != errReset.Error() || !s.LastErrorAt.Equal(failed) || !s.Since.Equal(begun) {
			t.Errorf("after a reset: %+v", s)
		}
		a.set(func() { a.refuse = true })
		a.conn(1).reset()
		down := time.Now()
		r.pass(time.Minute)
		if s := r.quiet().Targets[0]; s.State != target.StateDown || s.Since.Sub(down) > lastDelay || s.LastErrorAt.Equal(down) || s.Up {
			t.Errorf("down: %+v", s)
		}
		r.must(r.pool.Drain(a.target()))
		if s := r.quiet().Targets[0]; s.State != target.StateDrained || !s.Since.Equal(time.Now()) {
			t.Errorf("drained: %+v", s)
		}
		a.set(func() { a.refuse = false })
		r.must(r.pool.Resume(a.target()))
		r.pass(time.Second)
		if s := r.quiet().Targets[0]; s.State != target.StateUp || time.Since(s.Since) != time.Second {
			t.Errorf("up again: %+v", s)
		}
		r.finish(time.Second)
	})
	settled(t, "windows", func(t *testing.T) {
		a := newPeer("a")
		a.margin, a.holdReads = 2550, true
		r := newRig(t, Options{}, []*peer{a})
		r.bigLines()
		s := r.pass(target.Tick)
		if at := s.Targets[0]; at.Retained.Lines != 100 || at.Retained.Bytes != 10_000 || s.Retained.Lines != 100 {
			t.Errorf("%+v", s)
		}
		a.set(func() { a.holdReads = false })
		s = r.pass(time.Second)
		if at := s.Targets[0]; at.Retained.Lines != 30 || at.Retained.Bytes != 3000 || s.Retained.Lines != 30 {
			t.Errorf("%+v", s)
		}
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		s = r.pass(time.Second)
		if at := s.Targets[0]; at.Retained.Lines != 0 || at.Retained.Bytes != 0 || s.Retained.Lines != 30 {
			t.Errorf("with the window waiting to be sent again: %+v", s)
		}
		a.set(func() { a.refuse = false })
		r.pass(2 * lastDelay)
		s = r.finish(time.Second)
		if at := s.Targets[0]; at.Retained.Lines != 0 || at.Retained.Bytes != 0 {
			t.Errorf("at the end: %+v", at)
		}
	})
}

// Everything at once, for the race detector; and still each line arrives, and no more often than is counted.
func TestTargetsConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		r := newRig(t, Options{Connections: 2}, []*peer{a, b, c})
		names := []string{a.target(), b.target(), c.target()}
		var all sync.WaitGroup
		for i, act := range []func(name string) error{
			r.pool.Drain, r.pool.Resume, r.pool.Resume, r.pool.Remove,
			func(string) error { return r.pool.Add(a.addr) },
			func(string) error { return r.pool.Add(b.addr) },
			func(string) error { return r.pool.Add(c.addr) },
			func(string) error { r.pool.Tune(Tuning{StallTimeout: time.Minute}); return nil },
			func(string) error { r.pool.Stats(); return nil },
			func(string) error { r.pool.Targets(); return nil },
		} {
			all.Go(func() {
				for k := range 200 {
					err := act(names[(i+k)%len(names)])
					if err != nil && !errors.Is(err, target.ErrUnknown) && !errors.Is(err, target.ErrExists) && !errors.Is(err, target.ErrLast) {
						t.Error(err)
					}
					time.Sleep(time.Duration(1+(i*k)%50) * time.Millisecond)
				}
			})
		}
		for range 200 {
			r.bigLines()
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
		for _, name := range names {
			r.pool.Resume(name)
		}
		r.pass(5 * time.Second)
		r.finish(time.Second)
		r.once()
	})
}
