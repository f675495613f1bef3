package workerpool

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

func TestKeyWeights(t *testing.T) {
	weight := func(w int) target.Address { return target.Address{Weight: w} }
	own := func(n int) target.Address { return target.Address{Connections: n} }
	backup := func(w int) target.Address { return target.Address{Weight: w, Backup: true} }
	for name, c := range map[string]struct {
		targets []target.Address
		want    []float64
	}{
		"equal":               {[]target.Address{weight(0), weight(0), weight(0)}, []float64{1, 1, 1}},
		"not rounded":         {[]target.Address{weight(1), weight(2), weight(5)}, []float64{1, 2, 5}},
		"its own number":      {[]target.Address{own(8), weight(0), weight(0)}, []float64{2, 1, 1}},
		"beside weights":      {[]target.Address{own(2), weight(1), weight(3)}, []float64{1, 1, 3}},
		"only their own ones": {[]target.Address{own(4), own(6)}, []float64{1, 1.5}},
		"backups apart":       {[]target.Address{weight(1), weight(3), backup(10), {Connections: 8, Backup: true}}, []float64{1, 3, 10, 20}},
	} {
		if got := KeyWeights(c.targets, 4); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// homesOf returns where the keys went with the lines that were sent by send, and demands that each
// of them has one target.
func (r *keyedRig) homesOf(send func()) map[string]*peer {
	r.t.Helper()
	from := map[*peerConn]int{}
	r.eachConn(func(c *peerConn) { from[c] = len(c.sent) })
	send()
	at := map[string]*peer{}
	r.eachConn(func(c *peerConn) {
		for line := range bytes.Lines(c.sent[from[c]:]) {
			key, _ := keyOf(line)
			if at[key] != nil && at[key] != c.peer {
				r.t.Fatalf("%s went to %s and to %s", key, at[key].name, c.peer.name)
			}
			at[key] = c.peer
		}
	})
	if len(at) != r.keys {
		r.t.Fatalf("%d of %d keys were sent", len(at), r.keys)
	}
	return at
}

func (r *keyedRig) eachConn(do func(c *peerConn)) {
	for _, p := range r.peers {
		p.mu.Lock()
		for _, c := range p.conns {
			do(c)
		}
		p.mu.Unlock()
	}
}

// wantKeysAscend is wantKeysInOrder where keys leave a connection and come back to it.
func (r *keyedRig) wantKeysAscend() {
	r.t.Helper()
	r.eachConn(func(c *peerConn) {
		last := map[string]int{}
		for line := range bytes.Lines(c.sent) {
			key, seq := keyOf(line)
			if before, ok := last[key]; ok && seq <= before {
				r.t.Fatalf("%s[%d]: line %d of %s comes after line %d", c.peer.name, c.id, seq, key, before)
			}
			last[key] = seq
		}
	})
}

// where is homesOf lines that are sent now, after all keys have arrived.
func (r *keyedRig) where() map[string]*peer {
	r.t.Helper()
	r.pass(30 * time.Second)
	if k := r.pool.Stats().Keys; k.Moving != 0 {
		r.t.Fatalf("still moving: %+v", *k)
	}
	return r.homesOf(func() {
		r.sendKeys(1)
		r.pass(time.Second)
	})
}

func weightedPeers() []*peer {
	peers := fourPeers()[:3]
	for i, w := range []int{1, 2, 5} {
		peers[i].addr.Weight = w
	}
	return peers
}

// wantKeys demands that the targets have so many of the keys, within a few per cent of them all.
func (r *keyedRig) wantKeys(at map[string]*peer, shares ...float64) {
	r.t.Helper()
	got := map[*peer]float64{}
	for _, p := range at {
		got[p]++
	}
	sum := 0.0
	for _, s := range shares {
		sum += s
	}
	for i, p := range r.peers {
		if want := float64(r.keys) * shares[i] / sum; math.Abs(got[p]-want) > 0.03*float64(r.keys)+10 {
			r.t.Errorf("%s has %v of %d keys, want about %v", p.name, got[p], r.keys, want)
		}
	}
}

// wantMoved demands that no key went between two targets other than p.
func wantMoved(t *testing.T, before, after map[string]*peer, p *peer) {
	t.Helper()
	moved := 0
	for key, at := range after {
		if at == before[key] {
			continue
		}
		if moved++; at != p && before[key] != p {
			t.Errorf("%s has gone from %s to %s", key, before[key].name, at.name)
		}
	}
	if moved == 0 {
		t.Error("no key has moved")
	}
}

// wantUnmoved demands that each key is where it was.
func wantUnmoved(t *testing.T, before, after map[string]*peer) {
	t.Helper()
	for key, p := range after {
		if p != before[key] {
			t.Errorf("%s was at %s first, and is at %s", key, before[key].name, p.name)
		}
	}
}

// finishAscending is finishInOrder where keys leave a connection and come back to it, and no line
// comes twice.
func (r *keyedRig) finishAscending() {
	r.t.Helper()
	r.finish(5 * time.Minute)
	r.wantKeysAscend()
	r.wantOnce()
}

// The share of a target with keys was the number of its lanes when they were most: a weight that
// was lowered kept its lanes, and so its keys, until a restart.
func TestKeysFollowWeights(t *testing.T) {
	inBubble(t, "and a change moves only those that it must", func(t *testing.T) {
		r := newKeyedRig(t, Options{Connections: 4}, 2000, weightedPeers()...)
		first := r.where()
		r.wantKeys(first, 1, 2, 5)
		wantConnections(t, r.pool.Stats(), 2, 3, 8)
		c := r.peers[2]
		c.addr.Weight = 1
		r.must(r.pool.Reconfigure(Change{Shares: []target.Address{c.addr}}))
		second := r.where()
		r.wantKeys(second, 1, 2, 1)
		wantMoved(t, first, second, c)
		if got := connections(r.pool.Stats()); !slices.Equal(got, []int{3, 6, 3}) || r.workers() != 12 {
			t.Errorf("connections %v of %d workers", got, r.workers())
		}
		r.must(r.pool.SetWeight(c.target(), 5))
		wantUnmoved(t, first, r.where())
		r.finishAscending()
	})
	inBubble(t, "and lines flow on while lanes leave", func(t *testing.T) {
		r := newKeyedRig(t, Options{Connections: 4}, 200, weightedPeers()...)
		for i := range 60 {
			r.sendKeys(1)
			r.pass(300 * time.Millisecond)
			if i%5 == 4 {
				r.must(r.pool.SetWeight(r.peers[i%3].target(), 1+7*i%11))
			}
		}
		r.pass(30 * time.Second)
		s := r.pool.Stats()
		for i, n := range connections(s) {
			if n != s.Targets[i].Wanted {
				t.Errorf("%s has %d connections, wants %d", s.Targets[i].Name, n, s.Targets[i].Wanted)
			}
		}
		r.finishAscending()
	})
	inBubble(t, "and ?connections, with as many lanes", func(t *testing.T) {
		peers := fourPeers()[:3]
		peers[2].addr.Connections = 4
		r := newKeyedRig(t, Options{Connections: 2}, 2000, peers...)
		first := r.where()
		r.wantKeys(first, 1, 1, 2)
		wantConnections(t, r.pool.Stats(), 2, 2, 4)
		d := r.join("d")
		second := r.where()
		wantMoved(t, first, second, d)
		r.wantKeys(second, 1, 1, 2, 1)
		r.finishAscending()
	})
	inBubble(t, "and a weight that changes at the end of all lines", func(t *testing.T) {
		r := newKeyedRig(t, Options{Connections: 4}, 200, weightedPeers()...)
		r.sendKeys(5)
		r.must(r.pool.SetWeight(r.peers[2].target(), 1))
		r.sendKeys(1)
		r.finishAscending()
	})
}

// Lanes of targets that are down go to backups, each key behind its own last line, and come home
// the same way.
func TestKeysOfBackups(t *testing.T) {
	start := func(t *testing.T) (r *keyedRig, a, b, c *peer) {
		peers := fourPeers()[:3]
		peers[2].addr.Backup = true
		r = newKeyedRig(t, Options{}, 200, peers...)
		return r, peers[0], peers[1], peers[2]
	}
	inBubble(t, "serve only while no other target is up", func(t *testing.T) {
		r, a, b, c := start(t)
		first := r.where()
		r.wantKeys(first, 1, 1, 0)
		a.crash()
		r.sendKeys(2)
		r.pass(10 * time.Second)
		r.sendKeys(2)
		r.pass(time.Second)
		if n := c.bytes(); n != 0 {
			t.Errorf("the backup has got %d bytes while another target is up", n)
		}
		b.crash()
		r.sendKeys(2)
		r.pass(10 * time.Second)
		at := r.homesOf(func() { r.sendKeys(1); r.pass(time.Second) })
		r.wantKeys(at, 0, 0, 1)
		for _, p := range []*peer{a, b} {
			p.set(func() { p.refuse = false })
		}
		r.sendKeys(2)
		r.pass(time.Minute)
		wantUnmoved(t, first, r.where())
		r.finishInOrder()
	})
	inBubble(t, "get the keys while all others are drained", func(t *testing.T) {
		r, a, b, c := start(t)
		first := r.where()
		r.must(r.pool.Drain(a.target()))
		r.must(r.pool.Drain(b.target()))
		r.wantKeys(r.where(), 0, 0, 1)
		r.must(r.pool.Resume(a.target()))
		r.must(r.pool.Resume(b.target()))
		if c.bytes() == 0 {
			t.Error("the backup has got nothing")
		}
		wantUnmoved(t, first, r.where())
		r.finishInOrder()
		r.wantOnce()
	})
}

// A lane holds what -queue says. Before, the option had no effect with keys.
func TestQueueBoundsLanes(t *testing.T) {
	for _, queue := range []int{1, 8} {
		inBubble(t, fmt.Sprint(queue, " buffers"), func(t *testing.T) {
			p := newPeer("a")
			r := newKeyedRig(t, Options{Connections: 1, Queue: queue, Tuning: Tuning{StallTimeout: time.Hour}}, 1, p)
			r.sendKeys(1)
			p.set(func() { p.sendBuf, p.holdAcks = 0, true })
			var held *linebuf.Buffer
			for held == nil {
				if b := r.only("k000"); !r.outlet.Offer(b) {
					held = b
				}
				synctest.Wait()
			}
			limit := uint64(queue * laneBuffer)
			if s, _ := r.stats(p); s.Lanes.Queued.Bytes > limit || s.Lanes.Queued.Bytes < limit/2 {
				t.Errorf("a lane of %d buffers holds %d bytes", queue, s.Lanes.Queued.Bytes)
			}
			p.set(func() { p.sendBuf, p.holdAcks = 256<<10, false })
			r.pass(time.Minute)
			if !r.outlet.Offer(held) {
				t.Error("no room although the target goes on")
			}
			r.finish(5 * time.Minute)
		})
	}
}
