package workerpool

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"linesplit/target"
)

func TestShares(t *testing.T) {
	weight := func(w int) target.Address { return target.Address{Weight: w} }
	backup := func(w int) target.Address { return target.Address{Weight: w, Backup: true} }
	for name, c := range map[string]struct {
		targets []target.Address
		want    []int
	}{
		"equal":               {[]target.Address{weight(0), weight(0), weight(0)}, []int{4, 4, 4}},
		"equal but not 1":     {[]target.Address{weight(7), weight(7)}, []int{4, 4}},
		"one and three":       {[]target.Address{weight(1), weight(3)}, []int{2, 6}},
		"the scale is free":   {[]target.Address{weight(100), weight(300)}, []int{2, 6}},
		"rounded":             {[]target.Address{weight(1), weight(2), weight(2)}, []int{2, 5, 5}}, // of 2.4, 4.8, 4.8
		"at least 1":          {[]target.Address{weight(1), weight(1_000_000)}, []int{1, 8}},
		"alone":               {[]target.Address{weight(5)}, []int{4}},
		"its own number":      {[]target.Address{{Connections: 9}, weight(1), weight(3)}, []int{9, 2, 6}},
		"backups apart":       {[]target.Address{weight(1), backup(1), weight(3), backup(1)}, []int{2, 4, 6, 4}},
		"backups by weight":   {[]target.Address{weight(1), backup(2), backup(6)}, []int{4, 2, 6}},
		"only their own ones": {[]target.Address{{Connections: 1}, {Connections: 1024}}, []int{1, 1024}},
	} {
		if got := Shares(c.targets, 4); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := Shares([]target.Address{weight(1_000_000), weight(1)}, MaxConnections); !slices.Equal(got, []int{MaxConnections, 1}) {
		t.Errorf("at most: %v", got)
	}
	if got := Shares(nil, 4); len(got) > 0 {
		t.Errorf("none: %v", got)
	}
}

// connections returns how many each target has.
func connections(s Stats) (n []int) {
	for _, x := range s.Targets {
		n = append(n, x.Connections)
	}
	return n
}

// wantConnections demands that the targets have so many connections.
func wantConnections(t *testing.T, s Stats, n ...int) {
	t.Helper()
	if got := connections(s); !slices.Equal(got, n) {
		t.Fatalf("connections %v, want %v", got, n)
	}
}

// oneToThree returns a rig of two targets, of which the second has three times the weight.
func oneToThree(t *testing.T) (r *rig, a, b *peer) {
	a, b = newPeer("a"), newPeer("b")
	b.addr.Weight = 3
	return newRig(t, Options{Connections: 4}, []*peer{a, b}), a, b
}

func TestWeights(t *testing.T) {
	inBubble(t, "are a share of the connections and of lines that come one by one", func(t *testing.T) {
		r, a, b := oneToThree(t)
		wantConnections(t, r.pass(time.Second), 2, 6)
		outlet := r.pool.NewOutlet()
		r.outlet = func() *Outlet { return outlet }
		for range 800 {
			r.send(1, 100)
			r.pass(10 * time.Millisecond)
		}
		if na, nb := a.bytes(), b.bytes(); na != 20_000 || nb != 60_000 {
			t.Errorf("%d and %d bytes, want 1 to 3", na, nb)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	changeWeights(t)
	inBubble(t, "targets that come and go share anew", func(t *testing.T) {
		r, a, b := oneToThree(t)
		c := r.addPeer("c")
		c.addr.Weight = 2
		r.must(r.pool.Add(c.addr))
		wantConnections(t, r.pass(time.Second), 2, 6, 4)
		r.must(r.pool.Remove(b.target()))
		r.pass(5 * time.Second)
		r.wantGone(b)
		wantConnections(t, r.pass(time.Second), 3, 5)
		r.must(r.pool.Drain(a.target()))
		wantConnections(t, r.pass(5*time.Second), 0, 5)
		r.must(r.pool.Resume(a.target()))
		wantConnections(t, r.pass(time.Second), 3, 5)
		r.finish(time.Second)
	})
	inBubble(t, "faults", func(t *testing.T) {
		r, a, _ := oneToThree(t)
		own := r.addPeer("own")
		own.addr.Connections = 2
		r.must(r.pool.Add(own.addr))
		wantConnections(t, r.pass(time.Second), 2, 6, 2)
		r.wantErr(r.pool.SetWeight("tcp://unlisted:1", 2), target.ErrUnknown)
		r.wantErr(r.pool.SetWeight(own.target(), 2), errOwnNumber)
		for _, weight := range []int{-1, 0, target.MaxWeight + 1} {
			if err := r.pool.SetWeight(a.target(), weight); err == nil {
				t.Error("accepted " + strconv.Itoa(weight))
			}
		}
		own.addr.Connections = 5
		r.must(r.pool.Reconfigure(Change{Shares: []target.Address{own.addr, {Scheme: "tcp", Host: "unlisted:1"}}}))
		wantConnections(t, r.pass(time.Second), 2, 6, 5)
		r.finish(time.Second)
	})
}

// changeWeights tests weights that change while the pool is at work.
func changeWeights(t *testing.T) {
	inBubble(t, "a change moves connections, and no line is lost or sent twice", func(t *testing.T) {
		r, a, b := oneToThree(t)
		b.set(func() { b.recvBuf, b.sendBuf, b.holdReads = 3000, 3000, true })
		weights := []int{1, 100, 3}
		for i := range 30 {
			r.sendFullBuffers()
			r.pass(10 * time.Millisecond)
			if i%10 == 9 {
				r.must(r.pool.SetWeight(b.target(), weights[i/10]))
			}
		}
		if at := r.pool.Addresses(); at[1].Weight != 3 || at[1].String() != b.target() {
			t.Errorf("%+v", at)
		}
		b.set(func() { b.holdReads = false })
		r.must(r.pool.SetWeight(a.target(), 9))
		wantConnections(t, r.pass(5*time.Second), 6, 2)
		if n := r.workers(); n != 8 {
			t.Errorf("%d workers", n)
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "a change that is undone at once costs no connection", func(t *testing.T) {
		r, a, b := oneToThree(t)
		r.pass(time.Second)
		dials := a.dialled() + b.dialled()
		release := r.holdTurns() // no worker acts in between
		r.must(r.pool.SetWeight(a.target(), 2))
		r.must(r.pool.SetWeight(a.target(), 1))
		release()
		wantConnections(t, r.pass(time.Second), 2, 6)
		if n := a.dialled() + b.dialled() - dials; n > 1 { // one that has just been started may have dialled
			t.Errorf("%d dials", n)
		}
		r.finish(time.Second)
	})
}

// withBackup returns a rig of two targets, of which the second is a backup.
func withBackup(t *testing.T) (r *rig, a, b *peer) {
	a, b = newPeer("a"), newPeer("b")
	b.addr.Backup = true
	return newRig(t, Options{Connections: 2}, []*peer{a, b}), a, b
}

func TestBackups(t *testing.T) {
	inBubble(t, "rest while another target is up, and serve while none is", backupTakesOver)
	inBubble(t, "serve while all others are drained, and nothing goes twice", func(t *testing.T) {
		r, a, b := withBackup(t)
		for i := range 40 {
			r.sendFullBuffers()
			r.pass(100 * time.Millisecond)
			switch i {
			case 10:
				r.must(r.pool.Drain(a.target()))
			case 30:
				r.must(r.pool.Resume(a.target()))
			}
		}
		if s := r.pass(5 * time.Second); s.Targets[0].Connections != 2 || s.Targets[1].Connections != 0 || b.bytes() == 0 {
			t.Errorf("connections %v, %d bytes to the backup", connections(s), b.bytes())
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "serve while checks find all others down", func(t *testing.T) {
		r, a, b := withBackup(t)
		r.pass(time.Second)
		r.pool.Targets()[0].CheckedDown(errReset)
		r.pass(2 * time.Second)
		r.wantDials(b, 2)
		r.pool.Targets()[0].CheckedUp()
		if s := r.pass(5 * time.Second); s.Targets[0].Connections != 2 || s.Targets[1].Connections != 0 {
			t.Errorf("connections %v", connections(s))
		}
		r.wantDials(a, 2)
		r.finish(time.Second)
	})
	inBubble(t, "serve while the only other resets each connection at once", backupOfOneThatResets)
	inBubble(t, "an idle pool with a backup that rests ticks once a second", func(t *testing.T) {
		r, _, _ := withBackup(t)
		r.pass(5 * time.Second)
		if !r.pool.clock.slow.Load() {
			t.Error("it ticks faster")
		}
		r.finish(2 * time.Second)
	})
}

// backupTakesOver demands that a backup gets no line until the other target crashes, all lines
// while that is down, and none when it is back.
func backupTakesOver(t *testing.T) {
	r, a, b := withBackup(t)
	outlet := r.pool.NewOutlet()
	r.outlet = func() *Outlet { return outlet }
	r.trickle(20)
	r.wantDials(b, 0)
	a.crash()
	s := r.pass(time.Second)
	if b.bytes() == 0 || s.Targets[0].Connections != 0 || s.Targets[1].Connections != 4 {
		t.Fatalf("a second after the crash: %d bytes, connections %v; want all four workers at the backup", b.bytes(), connections(s))
	}
	r.trickle(20)
	a.set(func() { a.refuse = false })
	r.pass(10 * time.Second)
	r.wantLeft(b)
	before := b.bytes()
	s = r.trickle(20)
	if n := b.bytes() - before; n > 0 || s.Targets[0].Connections != 2 || s.Targets[1].Connections != 0 {
		t.Errorf("after the failback: %d bytes to the backup, connections %v", n, connections(s))
	}
	r.finish(time.Second)
}

// trickle sends a line a second, and returns the stats after the last one.
func (r *rig) trickle(lines int) (s Stats) {
	r.t.Helper()
	for range lines {
		r.send(1, 100)
		s = r.pass(time.Second)
	}
	return s
}

// backupOfOneThatResets demands that a backup serves although the other target can be dialled.
func backupOfOneThatResets(t *testing.T) {
	r, a, b := withBackup(t)
	r.pass(5 * time.Second)
	a.set(func() { a.onAccept = func(c *peerConn) { c.readLimit, c.ackLimit = 0, 0 } })
	a.resetAll()
	for range 40 {
		r.send(1, 100)
		r.pass(250 * time.Millisecond)
		a.resetAll()
	}
	if b.bytes() == 0 {
		t.Error("the backup got nothing")
	}
	a.set(func() { a.onAccept = nil })
	r.pass(time.Minute)
	if s := r.pass(5 * time.Minute); s.Targets[1].Connections > 0 && s.Targets[0].Connections < 2 {
		t.Errorf("connections %v", connections(s))
	}
	r.finish(time.Minute)
}
