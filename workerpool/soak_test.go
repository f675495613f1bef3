package workerpool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/target"
)

// soakSeeds is the number of seeds that take about two seconds.
const soakSeeds = 30

// Anything may happen to targets, in any order. Once they work again, everything must arrive.
func TestAnythingMayHappen(t *testing.T) {
	seeds := soakSeeds
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { soak(t, rand.New(rand.NewPCG(uint64(seed), 7))) })
		})
		if !ok {
			return // one failure is enough to look into
		}
	}
}

func soak(t *testing.T, rnd *rand.Rand) {
	var peers []*peer
	for i := range 1 + rnd.IntN(3) {
		p := newPeer(string(rune('a' + i)))
		p.margin = []uint64{0, 1500, 1 << 40}[rnd.IntN(3)]
		p.sendBuf, p.recvBuf = 1000+rnd.IntN(20_000), 1000+rnd.IntN(20_000)
		p.delay = time.Duration(rnd.IntN(3)) * 10 * time.Millisecond
		peers = append(peers, p)
	}
	r := newRig(t, Options{
		Connections: 1 + rnd.IntN(3),
		Tuning: Tuning{
			StallTimeout:     5 * time.Second,
			DeadTimeout:      5 * time.Second,
			FailbackInterval: 7 * time.Second,
			ResendAge:        []time.Duration{time.Second, 10 * time.Second}[rnd.IntN(2)],
			ResendMax:        []int64{4000, 20_000, 8 << 20}[rnd.IntN(3)],
		},
	}, peers)
	r.useOutlets(rnd)
	for i := range 150 {
		for range rnd.IntN(4) {
			if len(r.lines) < cap(r.lines)/2 {
				r.sendIn(1+rnd.IntN(20), 20+rnd.IntN(200), 1<<rnd.IntN(14))
			}
		}
		mishap(rnd, r.peers[rnd.IntN(len(r.peers))])
		r.change(rnd)
		time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		r.ledger()
		if i%25 == 0 {
			r.checkedStats()
		}
	}
	drainEarly := rnd.IntN(2) == 0
	if drainEarly {
		close(r.lines)
		for range 10 {
			mishap(rnd, r.peers[rnd.IntN(len(r.peers))])
			r.change(rnd)
			r.pass(time.Duration(rnd.IntN(500)) * time.Millisecond)
		}
	}
	for _, p := range r.peers {
		p.set(func() { heal(p) })
	}
	r.pool.Resume(r.pool.Targets()[0].String()) // the others may be drained
	if !drainEarly {
		r.pass(20 * time.Second)
		if n := len(r.lines); n > 0 {
			t.Fatalf("%d buffers are still not taken", n)
		}
		if s := r.pass(13 * time.Second); s.Retained.Lines != 0 {
			t.Errorf("%d lines retained after quiet seconds", s.Retained.Lines)
		}
		close(r.lines)
	}
	r.wantEnd(t, 2*time.Minute)
}

// useOutlets makes some of the senders offer what they send to workers first.
func (r *rig) useOutlets(rnd *rand.Rand) {
	outlets := make([]*Outlet, rnd.IntN(4))
	if len(outlets) == 0 {
		return
	}
	for i := range outlets {
		outlets[i] = r.pool.NewOutlet()
	}
	r.outlet = func() *Outlet { return outlets[rnd.IntN(len(outlets))] }
}

// change makes, now and then, one change that an operator may make. What must be refused is
// refused, and nothing else.
func (r *rig) change(rnd *rand.Rand) {
	p := r.peers[rnd.IntN(len(r.peers))]
	_, listed := r.stats(p)
	want := func(err error, allowed ...error) {
		r.t.Helper()
		if err == nil || errors.Is(err, ErrEnding) {
			return
		}
		for _, a := range allowed {
			if errors.Is(err, a) {
				return
			}
		}
		r.t.Errorf("%v; listed: %v", err, listed)
	}
	known := []error{target.ErrUnknown}
	if listed {
		known = nil
	}
	switch rnd.IntN(30) {
	case 0:
		if len(r.peers) < 5 {
			p, listed = r.addPeer(string(rune('a'+len(r.peers)))), false
		}
		if listed {
			known = []error{target.ErrExists}
		} else {
			known = nil
		}
		want(r.pool.Add(p.addr), known...)
	case 1:
		want(r.pool.Drain(p.target()), known...)
	case 2, 3:
		want(r.pool.Resume(p.target()), known...)
	case 4, 5:
		want(r.pool.Remove(p.target()), append(known, target.ErrLast)...)
	case 6:
		if other := r.peers[rnd.IntN(len(r.peers))]; other != p {
			want(r.pool.Reconfigure(Change{Tuning: anyTuning(rnd), Add: []target.Address{p.addr}, Remove: []string{other.target()}}), target.ErrLast)
		}
	case 7:
		r.pool.Tune(anyTuning(rnd))
	}
}

func anyTuning(rnd *rand.Rand) Tuning {
	return Tuning{
		StallTimeout:     time.Duration(1+rnd.IntN(10)) * time.Second,
		DeadTimeout:      time.Duration(1+rnd.IntN(10)) * time.Second,
		FailbackInterval: time.Duration(1+rnd.IntN(10)) * time.Second,
		ResendAge:        time.Duration(1+rnd.IntN(10)) * time.Second,
		ResendMax:        int64(4000 + rnd.IntN(20_000)),
	}
}

// Targets that work, if slowly, are added, drained and removed in any order. No line is lost,
// and none comes twice.
func TestChangesAreOrderly(t *testing.T) {
	seeds := soakSeeds / 2
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { soakOrderly(t, rand.New(rand.NewPCG(uint64(seed), 8))) })
		})
		if !ok {
			return
		}
	}
}

func soakOrderly(t *testing.T, rnd *rand.Rand) {
	var peers []*peer
	for i := range 1 + rnd.IntN(3) {
		peers = append(peers, slowPeer(rnd, string(rune('a'+i))))
	}
	r := newRig(t, Options{
		Connections: 1 + rnd.IntN(3),
		Tuning: Tuning{
			StallTimeout: 10 * time.Hour, // slow is not stalled: moved windows would come twice
			DeadTimeout:  10 * time.Hour,
			ResendMax:    []int64{4000, 20_000, 8 << 20}[rnd.IntN(3)],
		},
	}, peers)
	for i := range 200 {
		for range rnd.IntN(4) {
			if len(r.lines) < cap(r.lines)/2 {
				r.sendIn(1+rnd.IntN(20), 20+rnd.IntN(200), 1<<rnd.IntN(14))
			}
		}
		r.changeOrderly(rnd)
		for _, p := range r.peers {
			p.readSome(rnd)
		}
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
		r.ledger()
		if i%50 == 0 {
			r.checkedStats()
		}
	}
	if rnd.IntN(2) == 0 {
		r.pool.Resume(r.pool.Targets()[0].String())
		close(r.lines)
		r.pass(time.Second)
		r.finishSlowly(rnd)
	} else {
		for _, x := range r.pool.Targets() {
			r.must(r.pool.Resume(x.String()))
		}
		r.finishSlowly(rnd)
		r.pass(20 * time.Second)
		close(r.lines)
	}
	r.wantEnd(t, time.Minute)
	r.wantOnce()
}

// changeOrderly is change without what must be refused, and more often.
func (r *rig) changeOrderly(rnd *rand.Rand) {
	p := r.peers[rnd.IntN(len(r.peers))]
	switch rnd.IntN(8) {
	case 0:
		if len(r.peers) < 6 {
			p = r.addPeer(string(rune('a' + len(r.peers))))
			p.recvBuf = 1000 + rnd.IntN(20_000)
		}
		r.pool.Add(p.addr)
	case 1:
		r.pool.Drain(p.target())
	case 2, 3:
		r.pool.Resume(p.target())
	case 4:
		r.pool.Remove(p.target())
	}
}

func slowPeer(rnd *rand.Rand, name string) *peer {
	p := newPeer(name)
	p.margin = []uint64{0, 1500, 1 << 40}[rnd.IntN(3)]
	p.sendBuf, p.recvBuf = 1000+rnd.IntN(20_000), 1000+rnd.IntN(20_000)
	p.delay = time.Duration(rnd.IntN(3)) * 10 * time.Millisecond
	return p
}

// readSome lets the application of a slow target read on a little.
func (p *peer) readSome(rnd *rand.Rand) {
	p.set(func() {
		p.onAccept = func(c *peerConn) { c.readLimit = 0 }
		for _, c := range p.conns {
			if !c.closed {
				c.readLimit = c.read + rnd.IntN(2000)
			}
		}
	})
}

func (r *rig) finishSlowly(rnd *rand.Rand) {
	for range 20 {
		for _, p := range r.peers {
			p.readSome(rnd)
		}
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
	}
	for _, p := range r.peers {
		p.set(func() { heal(p) })
	}
}

// mishap changes one thing about a target.
func mishap(rnd *rand.Rand, p *peer) {
	p.mu.Lock()
	open := make([]*peerConn, 0, 8)
	for _, c := range p.conns {
		if !c.closed {
			open = append(open, c)
		}
	}
	p.mu.Unlock()
	yes := rnd.IntN(2) == 0
	switch rnd.IntN(12) {
	case 0:
		p.set(func() { p.refuse = yes })
	case 1:
		p.set(func() { p.holdAcks = yes })
	case 2:
		p.set(func() { p.holdReads = yes })
	case 3:
		p.set(func() { heal(p) })
	case 4:
		p.set(func() {
			p.onAccept = []func(*peerConn){nil, nil, (*peerConn).finLocked,
				func(c *peerConn) { c.failLocked(errReset) }}[rnd.IntN(4)]
		})
	case 5:
		p.set(func() { p.ignoresFIN = yes })
	}
	if len(open) == 0 {
		return
	}
	c := open[rnd.IntN(len(open))]
	switch rnd.IntN(12) {
	case 0:
		c.reset()
	case 1:
		c.sendFIN()
	case 2:
		c.exit()
	case 3:
		c.vanish()
	case 4:
		s := c.state()
		c.ackTo(s.acked+rnd.IntN(3000), s.read+rnd.IntN(3000))
	case 5:
		c.ackTo(noLimit, noLimit)
	case 6: // the whole process exits
		for _, c := range open {
			c.exit()
		}
	}
}

// heal makes a target work. Connections that have vanished or ended stay so.
func heal(p *peer) {
	p.refuse, p.holdAcks, p.holdReads, p.ignoresFIN, p.onAccept = false, false, false, false, nil
	for _, c := range p.conns {
		c.ackLimit, c.readLimit = noLimit, noLimit
	}
}
