package workerpool

import (
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

// idleRig returns a pool at rest over targets whose kernel tells what is unread.
func idleRig(t *testing.T) (*rig, []*peer) {
	peers := []*peer{newPeer("a"), newPeer("b")}
	for _, p := range peers {
		p.exact = true
	}
	r := newRig(t, Options{Connections: 2}, peers)
	r.send(10, 100)
	r.rest()
	return r, peers
}

// rest waits until the clock has slowed down.
func (r *rig) rest() {
	r.t.Helper()
	for range 100 {
		if r.pass(target.Tick); r.pool.clock.slow.Load() {
			return
		}
	}
	r.t.Fatal("the clock does not slow down")
}

// All connections of an idle process were looked at, and the process woke up, eight times a second.
func TestIdlePoolLooksOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, peers := idleRig(t)
		before := peers[0].conn(0).state().looks
		r.pass(100 * time.Second)
		if n := peers[0].conn(0).state().looks - before; n < 99 || n > 101 {
			t.Errorf("%d looks in 100 s", n)
		}
		r.finish(time.Second)
	})
}

// What happens to an idle pool takes no longer than with a fast clock.
func TestEventsAtRestStirTheClock(t *testing.T) {
	for name, check := range map[string]func(t *testing.T, r *rig, peers []*peer){
		"a line from the channel is confirmed": func(t *testing.T, r *rig, _ []*peer) {
			r.send(1, 100)
			r.wantSoon(func(s Stats) bool { return s.Retained.Lines == 0 && s.Taken.Lines == 11 })
		},
		"a line of an outlet is confirmed": func(t *testing.T, r *rig, _ []*peer) {
			r.outlet = r.pool.NewOutlet
			r.send(1, 100)
			r.wantSoon(func(s Stats) bool { return s.Retained.Lines == 0 && s.Taken.Lines == 11 })
		},
		"a failed connection is replaced": func(t *testing.T, r *rig, peers []*peer) {
			peers[0].conn(0).reset()
			r.wantSoon(func(Stats) bool { return peers[0].dialled()+peers[1].dialled() == 5 })
		},
		"a target is drained": func(t *testing.T, r *rig, peers []*peer) {
			r.must(r.pool.Drain(peers[0].target()))
			r.wantSoon(func(s Stats) bool { return s.Targets[0].State == target.StateDrained })
		},
		"a target is added and takes lines": func(t *testing.T, r *rig, _ []*peer) {
			c := r.addPeer("c")
			r.must(r.pool.Add(c.addr))
			r.wantSoon(func(s Stats) bool { return s.Targets[2].Connections == 2 })
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			for ticks := range time.Duration(8) { // since the last slow tick
				r, peers := idleRig(t)
				r.pass(time.Second + ticks*target.Tick + target.Tick/2)
				check(t, r, peers)
				r.finish(time.Second)
			}
		})
	}
}

// wantSoon demands that something happens within two ticks.
func (r *rig) wantSoon(happened func(Stats) bool) {
	r.t.Helper()
	if !happened(r.pass(2 * target.Tick)) {
		r.t.Error("not within two ticks")
	}
}
