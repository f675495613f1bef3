package workerpool

import (
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

func TestFailoverChoosesTarget(t *testing.T) {
	inBubble(t, "to another that is not down", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		c.refuse = true
		o := Options{Tuning: Tuning{FailbackProbe: never}}
		r := newRig(t, o, []*peer{a, b, c}, 0, 2) // c's worker finds out that c is down
		r.pass(5 * time.Second)
		before := c.dialled()
		for range 20 {
			r.sendFullBuffers()
			r.pass(time.Second)
			for _, p := range []*peer{a, b} {
				if conn := p.conn(-1); conn != nil {
					conn.reset()
				}
			}
		}
		r.pass(5 * time.Second)
		if n := c.dialled() - before; n != 0 {
			t.Errorf("a target that is known to be down was dialled %d times while another was up", n)
		}
		r.finish(time.Second)
	})
	inBubble(t, "at random", func(t *testing.T) {
		went := map[string]int{}
		for range 40 {
			a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
			r := newRig(t, Options{}, []*peer{a, b, c}, 0)
			r.sendFullBuffers()
			r.pass(time.Second)
			a.conn(0).reset()
			r.pass(time.Second)
			for _, p := range r.peers {
				if p.conn(0) != nil {
					went[p.name]++
				}
			}
			r.finish(time.Second)
		}
		if went["b"] < 5 || went["c"] < 5 || went["b"]+went["c"] != 40 {
			t.Errorf("of 40 failovers: %v", went)
		}
	})
}

func TestFailoverKeepsTrying(t *testing.T) {
	inBubble(t, "all down: keeps trying, home included", func(t *testing.T) {
		a, b, c := newPeer("a"), newPeer("b"), newPeer("c")
		for _, p := range []*peer{a, b, c} {
			p.refuse = true
		}
		r := newRig(t, Options{}, []*peer{a, b, c}, 0)
		r.sendFullBuffers()
		r.pass(10 * time.Minute)
		total := a.dialled() + b.dialled() + c.dialled()
		if total < 10*60/3 || total > 10*60 {
			t.Errorf("%d dials in ten minutes", total)
		}
		if a.dialled() < total/3 || b.dialled() < 10 || c.dialled() < 10 {
			t.Errorf("dials: home %d, others %d, %d", a.dialled(), b.dialled(), c.dialled())
		}
		checkDelays(t, slices.Concat(a.dialTimes(), b.dialTimes(), c.dialTimes()))
		if n := r.log.count("target down") + r.log.count("target still down"); n > 70 {
			t.Errorf("%d messages in ten minutes", n)
		}
		a.set(func() { a.refuse = false })
		r.pass(2 * delivery.MaxDelay * 2)
		if n := a.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes read after home came back", n)
		}
		r.finish(time.Second)
	})
	inBubble(t, "the others go on", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Second)
		b.set(func() { b.hang = true }) // b is up, but accepts no new connections
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		r.pass(time.Second)
		for range 100 {
			r.send(10, 100)
		}
		r.pass(time.Second)
		if n := b.conn(0).state().read; n != 100_000 {
			t.Errorf("%d bytes read", n)
		}
		b.set(func() { b.hang = false })
		r.finish(time.Second)
	})
}

func TestFailoverTakesDialInProgress(t *testing.T) {
	inBubble(t, "a dial in progress when the connection fails", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: 10 * time.Second}}, []*peer{a, b}, 0)
		r.pass(5 * time.Second)
		a.set(func() { a.refuse, a.delay = false, 10*time.Second })
		r.sendFullBuffers()
		r.pass(8 * time.Second) // home is being dialled
		b.conn(0).reset()
		s := r.pass(10 * time.Second)
		r.wantResent(s, 0, 100)
		if n := a.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at home", n)
		}
		if n := b.dialled(); n != 1 {
			t.Errorf("the other was dialled %d times", n)
		}
		r.finish(time.Second)
	})
}

// checkDelays demands that delays grow to the limit and not beyond it.
func checkDelays(t *testing.T, dials []time.Time) {
	t.Helper()
	slices.SortFunc(dials, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(dials); i++ {
		longest = max(longest, dials[i].Sub(dials[i-1]))
	}
	if longest > delivery.MaxDelay*3/2 || longest < delivery.MaxDelay {
		t.Errorf("the longest delay was %v", longest)
	}
	if first := dials[1].Sub(dials[0]); first > delivery.InitialDelay*3/2 {
		t.Errorf("the first delay was %v", first)
	}
}

// A target that accepts and resets is treated like one that refuses: delays grow, and the log
// stays readable.
func TestFlappingTargetIsDialledSlowly(t *testing.T) {
	inBubble(t, "reset at once", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.failLocked(errReset) }
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(5 * time.Minute)
		if n := a.dialled(); n < 100 || n > 300 {
			t.Errorf("%d dials in five minutes", n)
		}
		checkDelays(t, a.dialTimes())
		if n := r.log.count("connection failed") + r.log.count("connected"); n > 2*(delivery.LogBurst+5*60/30) {
			t.Errorf("%d messages in five minutes", n)
		}
		a.set(func() { a.onAccept = nil })
		r.pass(2 * delivery.MaxDelay)
		r.finish(time.Second)
	})
	inBubble(t, "many workers", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.failLocked(errReset) }
		r := newRig(t, Options{Connections: 50}, []*peer{a})
		r.pass(time.Minute)
		if n := r.log.count("connection failed") + r.log.count("connected"); n > 2*(delivery.LogBurst+60/30) {
			t.Errorf("%d messages in a minute", n)
		}
		a.set(func() { a.onAccept = nil })
		r.pass(2 * delivery.MaxDelay)
		r.finish(time.Second)
	})
	inBubble(t, "reset by the first bytes", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.finLocked(); c.gone = true }
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(5 * time.Minute)
		if n := a.dialled(); n > 300 {
			t.Errorf("%d dials in five minutes", n)
		}
		a.set(func() { a.onAccept = nil })
		r.pass(2 * delivery.MaxDelay)
		r.finish(time.Second)
	})
	inBubble(t, "to one that works", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.onAccept = func(c *peerConn) { c.failLocked(errReset) }
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		r.sendFullBuffers()
		r.pass(time.Minute)
		if n := a.dialled(); n > 4 { // after 0, 5, 15 and 35 s
			t.Errorf("%d dials of the one that flaps in a minute", n)
		}
		r.pass(10 * time.Minute)
		if n := a.dialled(); n > 9 {
			t.Errorf("%d dials of the one that flaps in eleven minutes", n)
		}
		r.finish(time.Second)
	})
}

// A write blocks on the present connection while the one being left fails: its lines are sent
// next, and none is lost or written in between.
func TestLeavingFailsWhileAWriteBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			switch c.id {
			case 0:
				c.readLimit = 0
			case 1:
				c.ackLimit = 0
			}
		}
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.set(func() { a.sendBuf = 550 })
		a.conn(0).sendFIN()
		r.pass(time.Second)
		r.sendFullBuffers() // the first of them blocks
		r.pass(time.Second)
		a.conn(0).reset()
		s := r.pass(time.Second)
		r.wantResent(s, 0, 100)
		if !a.conn(0).state().closed {
			t.Error("the failed connection is open")
		}
		a.conn(1).ackTo(noLimit, noLimit)
		r.wantResent(r.pass(time.Second), 0, 100)
		r.wantDials(a, 2)
		r.finish(time.Second)
	})
}

// A target that ends each connection in order and reads nothing does not collect connections
// without bound.
func TestLeavingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.readLimit = 0 }
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		peak := 0
		for range 50 {
			r.send(10, 100)
			r.pass(2 * time.Second)
			peak = max(peak, r.checkedStats().Targets[0].Connections)
			a.conn(-1).sendFIN()
		}
		if peak > delivery.MaxLeaving+2 || peak < delivery.MaxLeaving {
			t.Errorf("%d connections at a time", peak)
		}
		a.set(func() {
			a.onAccept = nil
			for _, c := range a.conns {
				c.readLimit = noLimit
			}
		})
		r.finish(10 * time.Second)
	})
}

func TestSilentPeerFails(t *testing.T) {
	inBubble(t, "fails after the dead timeout", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a, b}, 0)
		r.sendFullBuffers()
		r.pass(time.Second)
		a.conn(0).vanish()
		r.sendFullBuffers()
		r.wantResent(r.pass(29*time.Second), 0, 0)
		r.wantResent(r.pass(2*time.Second), 100, 0) // the first hundred are old enough
		if n := b.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
		r.finish(time.Second)
	})
	inBubble(t, "in the middle of a write", func(t *testing.T) {
		a := newPeer("a")
		a.sendBuf = 550
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		a.conn(0).vanish()
		r.sendFullBuffers()
		r.wantResent(r.pass(31*time.Second), 6, 0)
		r.finish(time.Second)
	})
	inBubble(t, "of a connection that is being left", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		r.pass(2 * time.Second)
		a.conn(0).do(func() { a.conns[0].readLimit = 0 })
		r.sendFullBuffers()
		r.pass(time.Second)
		a.conn(0).sendFIN()
		r.pass(time.Second)
		a.conn(0).vanish()
		r.wantResent(r.pass(31*time.Second), 0, 100)
		r.finish(time.Second)
	})
}

// A process without descriptors logged each target as down.
func TestLackOfDescriptorsIsNoTargetsFault(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		a := newPeer("a")
		a.refuse, a.refusal = true, syscall.EMFILE
		r := newRig(t, Options{}, []*peer{a}, 0)
		r.sendFullBuffers()
		s := r.pass(5 * time.Minute).Targets[0]
		if n := r.log.count("target down"); n > 0 || s.State == target.StateDown || s.DialErrors == 0 {
			t.Errorf("logged down %d times; %+v", n, s)
		}
		if n := r.log.count("cannot dial for want of resources"); n < 1 || n > 11 {
			t.Errorf("%d messages in five minutes, want one in half a minute", n)
		}
		a.set(func() { a.refuse = false })
		r.pass(2 * delivery.MaxDelay)
		if n := a.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes read when there are descriptors again", n)
		}
		r.finish(time.Second)
	})
}
