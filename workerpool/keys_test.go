package workerpool

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/linekey"
	"linesplit/linebuf"
	"linesplit/target"
)

func fourPeers() []*peer {
	return []*peer{newPeer("a"), newPeer("b"), newPeer("c"), newPeer("d")}
}

func TestKeysKeepTheirTargets(t *testing.T) {
	inBubble(t, "and are written at once", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 100, fourPeers()...)
		for range 20 {
			if !r.outlet.Offer(r.buffer()) {
				t.Fatal("no room")
			}
		}
		if n := r.pool.Stats().Taken.Lines; n != 2000 { // no other goroutine has run yet
			t.Errorf("%d lines were written by the goroutine that had them", n)
		}
		r.pass(time.Second)
		got := map[*peer]int{}
		for _, p := range r.homes() {
			got[p]++
		}
		for _, p := range r.peers {
			if got[p] < 10 {
				t.Errorf("%s has %d of 100 keys", p.name, got[p])
			}
		}
		r.finishInOrder()
		r.wantOnce()
	})
	inBubble(t, "when another pool begins with the same targets", func(t *testing.T) {
		var first map[string]string
		for i := range 2 {
			peers := fourPeers()
			peers[1].addr.ViaProxy = i == 1 // its options have changed
			r := newKeyedRig(t, Options{}, 100, peers...)
			r.sendKeys(1)
			r.pass(time.Second)
			at := map[string]string{}
			for key, p := range r.homes() {
				at[key] = p.name
			}
			if first == nil {
				first = at
			}
			for key, name := range at {
				if first[key] != name {
					t.Fatalf("%s was at %s and is at %s", key, first[key], name)
				}
			}
			r.finishInOrder()
		}
	})
	inBubble(t, "as lines that come over the channel do", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 100, fourPeers()...)
		for range 5 {
			r.lines <- r.buffer()
		}
		synctest.Wait()
		r.homes()
		r.finishInOrder()
		r.wantOnce()
	})
}

func TestKeysOfConnections(t *testing.T) {
	inBubble(t, "all lines of one go to one target", func(t *testing.T) {
		peers := fourPeers()
		rule, err := linekey.Parse("connection")
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, Options{Keys: Keys{Rule: rule}, Connections: 2}, peers)
		used := 0
		for range 20 {
			before := map[*peer]int{}
			for _, p := range peers {
				before[p] = p.bytes()
			}
			outlet := r.pool.NewKeyedOutlet()
			for range 5 {
				if !outlet.Offer(r.buffer(10, 40, 0)) {
					t.Fatal("no room")
				}
			}
			synctest.Wait()
			for _, p := range peers {
				switch n := p.bytes() - before[p]; n {
				case 0:
				case 5 * 10 * 40:
					used++
				default:
					t.Errorf("%s has got %d bytes", p.name, n)
				}
			}
		}
		if used != 20 {
			t.Errorf("%d of 20 connections have gone to one target", used)
		}
		r.finish(time.Minute)
		r.wantOnce()
	})
}

func TestKeysMoveWhenTargetsDo(t *testing.T) {
	inBubble(t, "a drained target's keys go elsewhere and come back", keysLeaveADrainedTarget)
	inBubble(t, "an added target gets its share, a removed one goes", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 100, fourPeers()...)
		r.sendKeys(5)
		e := r.join("e")
		r.sendKeys(5)
		r.pass(20 * time.Second)
		r.sendKeys(5)
		if n := bytes.Count(e.conn(0).state().sent, []byte("\n")) + bytes.Count(e.conn(1).state().sent, []byte("\n")); n < 100 {
			t.Errorf("the added target has got %d lines", n)
		}
		a := r.peers[0]
		r.must(r.pool.Remove(a.target()))
		r.sendKeys(5)
		r.pass(30 * time.Second)
		r.wantGone(a)
		r.sendKeys(5)
		r.finishInOrder()
		r.wantOnce()
	})
	inBubble(t, "once, when several targets change together", keysMoveOnce)
	inBubble(t, "with all targets drained, lines wait", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 20, fourPeers()[:2]...)
		r.sendKeys(2)
		for _, p := range r.peers {
			r.must(r.pool.Drain(p.target()))
		}
		r.pass(20 * time.Second)
		r.sendKeys(2)
		if s := r.pass(20 * time.Second); s.Taken.Lines != 40 {
			t.Errorf("%d lines were taken, want 40", s.Taken.Lines)
		}
		r.must(r.pool.Remove(r.peers[0].target()))
		r.pass(time.Second)
		r.must(r.pool.Resume(r.peers[1].target()))
		r.pass(time.Minute)
		r.wantGone(r.peers[0])
		r.finishInOrder()
		r.wantOnce()
	})
	inBubble(t, "and the end of input comes while they move", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 100, fourPeers()...)
		r.sendKeys(5)
		r.must(r.pool.Drain(r.peers[0].target()))
		r.must(r.pool.Drain(r.peers[1].target()))
		r.sendKeys(5)
		r.finishInOrder()
		r.wantOnce()
	})
}

// keysLeaveADrainedTarget demands that a target loses its keys when it is drained, and gets them
// back when it is resumed.
func keysLeaveADrainedTarget(t *testing.T) {
	r := newKeyedRig(t, Options{}, 100, fourPeers()...)
	a := r.peers[0]
	r.sendKeys(5)
	before := r.homes()
	r.must(r.pool.Drain(a.target()))
	r.sendKeys(5)
	r.pass(20 * time.Second)
	r.wantState(a, "drained")
	drained := a.bytes()
	for range 5 {
		r.sendKeys(1)
		r.pass(time.Second)
	}
	if n := a.bytes() - drained; n != 0 {
		t.Errorf("a drained target has got %d bytes", n)
	}
	r.must(r.pool.Resume(a.target()))
	r.sendKeys(5)
	r.pass(20 * time.Second)
	if a.bytes() == drained {
		t.Error("a resumed target gets nothing")
	}
	if k := r.pool.Stats().Keys; k.Moving != 0 || k.Waiting.Lines != 0 {
		t.Errorf("still moving: %+v", *k)
	}
	sent := a.lastSent()
	for key, p := range before {
		if p == a && !bytes.Contains(sent, []byte(key)) {
			t.Errorf("%s has not come back", key)
		}
	}
	r.finishInOrder()
	r.wantOnce()
}

// keysMoveOnce demands that no key moves without need when a target comes and another one goes in
// one change.
func keysMoveOnce(t *testing.T) {
	r := newKeyedRig(t, Options{}, 100, fourPeers()...)
	r.sendKeys(5)
	before := r.homes()
	e := r.addPeer("e")
	a := r.peers[0]
	r.must(r.pool.Reconfigure(Change{Add: []target.Address{e.addr}, Remove: []string{a.target()}}))
	if k := r.pool.Stats().Keys; k.Moving > 0.45 { // a quarter of a, and a fifth of the others for e
		t.Errorf("%v of all keys are moving", k.Moving)
	}
	r.sendKeys(5)
	r.pass(30 * time.Second)
	r.sendKeys(5)
	for key, home := range before {
		for _, p := range []*peer{r.peers[1], r.peers[2], r.peers[3]} {
			if home != a && home != p && r.hasKey(p, key) {
				t.Errorf("%s has gone from %s to %s", key, home.name, p.name)
			}
		}
	}
	r.finishInOrder()
	r.wantOnce()
}

// lastSent returns what has gone over the last two connections of a target.
func (p *peer) lastSent() []byte {
	return slices.Concat(p.conn(-1).state().sent, p.conn(-2).state().sent)
}

func TestKeysOfTargetsThatFail(t *testing.T) {
	inBubble(t, "go elsewhere and come back", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 100, fourPeers()...)
		a := r.peers[0]
		r.sendKeys(3)
		r.pass(time.Second)
		key := r.keyAt(a)
		a.crash()
		r.pass(5 * time.Second)
		r.sendKeys(3)
		r.pass(time.Second)
		if !r.elsewhere(key, a) {
			t.Errorf("%s has not gone to another target", key)
		}
		a.set(func() { a.refuse = false })
		r.pass(30 * time.Second)
		before := len(a.lastSent())
		r.sendKeys(3)
		r.pass(time.Second)
		if len(a.lastSent()) == before {
			t.Error("no key has come back")
		}
		r.finishInOrder()
	})
	inBubble(t, "stay if they are to wait", func(t *testing.T) {
		r := newKeyedRig(t, Options{Tuning: Tuning{StayHome: true}}, 100, fourPeers()...)
		a := r.peers[0]
		r.sendKeys(3)
		r.pass(time.Second)
		key := r.keyAt(a)
		a.crash()
		r.pass(5 * time.Second)
		r.sendKeys(3)
		if s := r.pass(5 * time.Minute); r.elsewhere(key, a) || s.Targets[0].Failovers != 0 {
			t.Errorf("%s has gone to another target", key)
		}
		a.set(func() { a.refuse = false })
		r.pass(30 * time.Second)
		r.homes()
		r.finishInOrder()
	})
	inBubble(t, "come back at once after a restart", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 100, fourPeers()...)
		a := r.peers[0]
		r.sendKeys(3)
		r.pass(20 * time.Second) // all is confirmed by age
		a.resetAll()
		r.pass(5 * time.Second)
		r.sendKeys(3)
		r.pass(time.Second)
		r.homes()
		r.finishInOrder()
	})
}

// A target that hangs holds up its own keys, as far as their lanes have room, and says so.
func TestStalledLaneHoldsUpOnlyItsKeys(t *testing.T) {
	inBubble(t, "others go on", func(t *testing.T) {
		peers := fourPeers()
		a := peers[0]
		r := newKeyedRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour, StayHome: true}}, 100, peers...)
		r.sendKeys(1)
		key := r.keyAt(a)
		a.set(func() { a.sendBuf, a.holdAcks = 0, true })
		own := r.pool.NewKeyedOutlet()
		var held *linebuf.Buffer
		for held == nil { // until a lane of a is full
			b := r.only(key)
			if !own.Offer(b) {
				held = b
			}
			synctest.Wait()
		}
		stats, _ := r.stats(a)
		if stats.Lanes.Full != 1 || stats.Lanes.FullSince.IsZero() || stats.Lanes.Queued.Bytes < 1<<20 {
			t.Errorf("lanes of a target that hangs: %+v", stats.Lanes)
		}
		before := peers[1].bytes() + peers[2].bytes() + peers[3].bytes()
		other := r.buffer()
		for r.outlet.Offer(other) { // few lines fit into the lane's last buffer
			other = r.buffer()
		}
		synctest.Wait()
		if peers[1].bytes()+peers[2].bytes()+peers[3].bytes() < before+2000 {
			t.Error("keys of other targets are held up")
		}
		room := own.Room()
		a.set(func() { a.sendBuf, a.holdAcks = 256<<10, false })
		r.pass(time.Minute)
		<-room
		if !own.Offer(held) || !r.outlet.Offer(other) {
			t.Error("no room although the target goes on")
		}
		r.pass(time.Minute)
		if stats, _ := r.stats(a); stats.Lanes != (LaneStats{}) {
			t.Errorf("lanes of a target that is well: %+v", stats.Lanes)
		}
		r.finish(5 * time.Minute)
		r.wantOnce()
	})
}

func TestKeysAtHardStop(t *testing.T) {
	inBubble(t, "what is not confirmed is reported", func(t *testing.T) {
		peers := fourPeers()
		r := newKeyedRig(t, Options{}, 100, peers...)
		r.sendKeys(3)
		peers[0].set(func() { peers[0].sendBuf, peers[0].holdAcks = 0, true })
		r.sendKeys(3)
		r.must(r.pool.Drain(peers[1].target()))
		r.sendKeys(3)
		r.stop(time.Second)
		if r.err == nil {
			t.Error("Run returned no error")
		}
	})
}
