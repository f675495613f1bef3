package workerpool

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

func TestAddedTargetGetsItsShare(t *testing.T) {
	inBubble(t, "gets its share", func(t *testing.T) {
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
			r.sendFullBuffers()
			r.pass(time.Millisecond)
		}
		if a.bytes() == 0 || b.bytes() == 0 {
			t.Errorf("%d bytes at a, %d at b", a.bytes(), b.bytes())
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "helps when all the others are down", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		r.pass(time.Minute)
		b := r.addPeer("b")
		r.must(r.pool.Add(b.addr))
		r.pass(2 * delivery.MaxDelay)
		r.wantResent(r.finish(time.Second), 0, 100)
	})
	inBubble(t, "takes over a stalled window", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 2000, 2000 })
		r.sendFullBuffers()
		r.wantResent(r.pass(10*time.Minute), 0, 0)
		b := r.addPeer("b")
		r.must(r.pool.Add(b.addr))
		r.pass(2 * time.Second)
		if _, unread := r.checkedStats().resent(); unread.Lines == 0 {
			t.Error("the window has not moved")
		}
		r.finish(time.Second)
	})
}

func TestAddBeforeAndAfterRun(t *testing.T) {
	inBubble(t, "before Run, and at the end", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		p := New(r.buffers, r.o)
		b := newPeer("b")
		r.must(p.Add(b.addr))
		if names := p.Targets(); len(names) != 2 || names[1].String() != b.target() {
			t.Errorf("%v", names)
		}
		a.set(func() { a.holdReads = true })
		r.sendFullBuffers()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Second)
		r.wantErr(r.pool.Add(b.addr), ErrEnding)
		r.wantErr(r.pool.Drain(a.target()), ErrEnding)
		r.must(r.pool.Resume(a.target()))
		r.wantErr(r.pool.Remove(a.target()), ErrEnding)
		a.set(func() { a.holdReads = false })
		r.wantEnd(t, time.Second)
		r.wantErr(r.pool.Add(b.addr), ErrEnding)
	})
	inBubble(t, "after a hard end", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.stop(time.Second)
		r.wantErr(r.pool.Add(newPeer("b").addr), ErrEnding)
	})
}

func TestResumeUndoesDrain(t *testing.T) {
	inBubble(t, "while its windows are waited for", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
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
			r.sendFullBuffers()
			r.pass(time.Millisecond)
		}
		if a.bytes() == before {
			t.Error("gets nothing after Resume")
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "again and again, while it is slow", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		peak := 0
		for range 3 * delivery.MaxLeaving {
			r.sendFullBuffers()
			r.pass(time.Second)
			r.must(r.pool.Drain(a.target()))
			r.pass(time.Second)
			s, _ := r.stats(a)
			peak = max(peak, s.Connections)
			r.must(r.pool.Resume(a.target()))
			r.pass(time.Second)
		}
		if peak > delivery.MaxLeaving+1 {
			t.Errorf("%d connections at a time", peak)
		}
		a.set(func() { a.holdReads = false })
		r.pass(3 * time.Second)
		r.finish(time.Second)
		r.wantOnce()
	})
}

func TestResumeBringsWorkersBack(t *testing.T) {
	inBubble(t, "while it is being removed", func(t *testing.T) {
		for _, add := range []bool{false, true} {
			a, b := newPeer("a"), newPeer("b")
			r := newRig(t, Options{Connections: 3, Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
			a.set(func() { a.holdReads = true })
			r.sendUntilTaken(a)
			r.must(r.pool.Remove(a.target()))
			r.pass(time.Minute) // some workers have lines left and some have ended
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
			r.sendFullBuffers()
			r.pass(time.Minute)
			r.wantState(a, target.StateUp)
			r.finish(time.Second)
			r.wantOnce()
		}
	})
	inBubble(t, "workers go home at once, whatever failed before", func(t *testing.T) {
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

func TestReconfigureIsAllOrNothing(t *testing.T) {
	inBubble(t, "all at once", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		b := r.addPeer("b")
		r.pass(time.Second)
		r.must(r.pool.Reconfigure(Change{Tuning: Tuning{StallTimeout: time.Minute}, Add: []target.Address{b.addr, a.addr}, Remove: []string{a.target(), "tcp://unlisted:1"}}))
		r.pass(time.Second)
		r.wantGone(a)
		r.sendUntilTaken(b)
		if s := r.pool.settings.Load(); s.StallTimeout != time.Minute {
			t.Errorf("stall timeout %v", s.StallTimeout)
		}
		r.finish(time.Second)
	})
	inBubble(t, "or nothing", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		r.pass(time.Second)
		r.must(r.pool.Drain(b.target()))
		r.wantErr(r.pool.Reconfigure(Change{Tuning: Tuning{StallTimeout: time.Minute}, Add: []target.Address{b.addr}, Remove: []string{a.target()}}), target.ErrLast)
		r.wantErr(r.pool.Reconfigure(Change{Tuning: Tuning{StallTimeout: time.Minute}, Add: nil, Remove: []string{a.target(), b.target()}}),
			target.ErrLast)
		r.sendUntilTaken(a)
		if s := r.pool.settings.Load(); s.StallTimeout != time.Hour {
			t.Errorf("stall timeout %v", s.StallTimeout)
		}
		r.finish(time.Second)
		r.wantErr(r.pool.Reconfigure(Change{Tuning: Tuning{}, Add: nil, Remove: []string{a.target()}}), ErrEnding)
		r.must(r.pool.Reconfigure(Change{Tuning: Tuning{}, Add: nil, Remove: nil}))
	})
	inBubble(t, "takes back one that is being removed", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b})
		a.set(func() { a.holdReads = true })
		r.sendUntilTaken(a)
		r.must(r.pool.Remove(a.target()))
		r.must(r.pool.Reconfigure(Change{Tuning: Tuning{StallTimeout: time.Hour}, Add: []target.Address{a.addr}, Remove: []string{b.target()}}))
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		r.wantGone(b)
		r.sendUntilTaken(a)
		r.finish(time.Second)
	})
}

func TestUnknownTargetIsRefused(t *testing.T) {
	inBubble(t, "every change is refused", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		for _, err := range []error{r.pool.Drain("tcp://x:1"), r.pool.Resume("tcp://x:1"), r.pool.Remove("tcp://x:1")} {
			r.wantErr(err, target.ErrUnknown)
		}
		r.finish(time.Second)
	})
}

func TestStatsShowStateAndLastError(t *testing.T) {
	inBubble(t, "state and last error", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		b.hang = true
		r := newRig(t, Options{}, []*peer{a, b})
		begun := time.Now()
		r.pass(5 * time.Second)
		s := r.checkedStats().Targets
		if s[0].State != target.StateUp || !s[0].Since.Equal(begun) || s[0].LastError != "" ||
			!s[0].LastErrorAt.IsZero() {
			t.Errorf("%+v", s[0])
		}
		if s[1].State != target.StateUnknown || !s[1].Since.Equal(begun) {
			t.Errorf("%+v", s[1])
		}
		r.must(r.pool.Remove(b.target()))
		a.conn(0).reset()
		failed := time.Now()
		r.pass(time.Second)
		if s := r.checkedStats().Targets[0]; s.State != target.StateUp || s.LastError != errReset.Error() ||
			!s.LastErrorAt.Equal(failed) || !s.Since.Equal(begun) {
			t.Errorf("after a reset: %+v", s)
		}
		a.set(func() { a.refuse = true })
		a.conn(1).reset()
		down := time.Now()
		r.pass(time.Minute)
		if s := r.checkedStats().Targets[0]; s.State != target.StateDown || s.Since.Sub(down) > delivery.MaxDelay ||
			s.LastErrorAt.Equal(down) || s.Up {
			t.Errorf("down: %+v", s)
		}
		r.must(r.pool.Drain(a.target()))
		if s := r.checkedStats().Targets[0]; s.State != target.StateDrained || !s.Since.Equal(time.Now()) {
			t.Errorf("drained: %+v", s)
		}
		a.set(func() { a.refuse = false })
		r.must(r.pool.Resume(a.target()))
		r.pass(time.Second)
		if s := r.checkedStats().Targets[0]; s.State != target.StateUp || time.Since(s.Since) != time.Second {
			t.Errorf("up again: %+v", s)
		}
		r.finish(time.Second)
	})
}

func TestStatsShowWindows(t *testing.T) {
	inBubble(t, "windows", func(t *testing.T) {
		a := newPeer("a")
		a.margin, a.holdReads = 2550, true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
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
		r.pass(2 * delivery.MaxDelay)
		s = r.finish(time.Second)
		if at := s.Targets[0]; at.Retained.Lines != 0 || at.Retained.Bytes != 0 {
			t.Errorf("at the end: %+v", at)
		}
	})
}

// For the race detector, all calls run at once. Each line still arrives, and only once.
func TestConcurrentChangesOfTargets(t *testing.T) {
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
					if err != nil && !errors.Is(err, target.ErrUnknown) && !errors.Is(err, target.ErrExists) &&
						!errors.Is(err, target.ErrLast) {
						t.Error(err)
					}
					time.Sleep(time.Duration(1+(i*k)%50) * time.Millisecond)
				}
			})
		}
		for range 200 {
			r.sendFullBuffers()
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
		for _, name := range names {
			r.pool.Resume(name)
		}
		r.pass(5 * time.Second)
		r.finish(time.Second)
		r.wantOnce()
	})
}
