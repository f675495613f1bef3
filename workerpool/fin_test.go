package workerpool

import (
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

func TestPeerFINMovesWorker(t *testing.T) {
	inBubble(t, "moves and sends nothing twice", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.pass(2 * time.Second)
		r.sendFullBuffers()
		r.pass(time.Second)
		a.conn(0).sendFIN()
		synctest.Wait()
		if c := a.conn(0).state(); !c.halfClosed || c.aborted {
			t.Errorf("old connection: half-closed %v, aborted %v", c.halfClosed, c.aborted)
		}
		r.pass(2 * target.Tick)
		if c := a.conn(0).state(); !c.closed || c.aborted {
			t.Errorf("old connection: closed %v, aborted %v", c.closed, c.aborted)
		}
		r.wantDials(a, 2)
		r.wantConfirmed(r.checkedStats(), 100)
		r.sendFullBuffers()
		r.pass(time.Second)
		if n := a.conn(1).state().read; n != 10_000 {
			t.Errorf("%d bytes over the new connection", n)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "the old connection gets nothing more and stays open until all is read", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			if c.id == 0 {
				c.readLimit = 5000
			}
		}
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.conn(0).sendFIN()
		r.sendFullBuffers()
		r.pass(delivery.MaxFINWait - time.Second)
		if c := a.conn(0).state(); c.halfClosed || c.closed || len(c.sent) != 10_000 {
			t.Errorf("old connection: half-closed %v, closed %v, %d bytes sent", c.halfClosed, c.closed, len(c.sent))
		}
		if n := a.conn(1).state().read; n != 10_000 {
			t.Errorf("%d bytes over the new connection", n)
		}
		a.conn(0).ackTo(noLimit, noLimit)
		r.pass(2 * target.Tick)
		if c := a.conn(0).state(); !c.halfClosed || !c.closed || c.aborted {
			t.Errorf("old connection: half-closed %v, closed %v, aborted %v", c.halfClosed, c.closed, c.aborted)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}

func TestPeerFINWithUnreadData(t *testing.T) {
	inBubble(t, "the worker half-closes after MaxFINWait", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			if c.id == 0 {
				c.readLimit = 5000
			}
		}
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.conn(0).sendFIN()
		r.pass(delivery.MaxFINWait + 2*target.Tick)
		if c := a.conn(0).state(); !c.halfClosed || c.closed {
			t.Errorf("old connection: half-closed %v, closed %v", c.halfClosed, c.closed)
		}
		a.conn(0).ackTo(noLimit, noLimit)
		// It ended with data unread when we half-closed, which proves nothing.
		r.wantResent(r.pass(time.Second), 0, 100)
		r.finish(time.Second)
	})
	inBubble(t, "a reset after the FIN", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			if c.id == 0 {
				c.ackLimit, c.readLimit = 7550, 5000
			}
		}
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.conn(0).sendFIN()
		r.pass(time.Second)
		a.conn(0).reset()
		r.wantResent(r.pass(time.Second), 25, 75)
		r.wantInOrder(a.conn(1))
		r.finish(time.Second)
	})
	inBubble(t, "while the replacement is being dialled, the old one fails", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		a.set(func() { a.holdAcks = true })
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.set(func() { a.delay = 2 * time.Second })
		a.conn(0).sendFIN()
		r.pass(time.Second)
		a.conn(0).reset()
		a.set(func() { a.holdAcks = false })
		r.wantResent(r.pass(2*time.Second), 100, 0)
		r.wantDials(a, 2)
		r.finish(time.Second)
	})
}

func TestHalfCloserIsServed(t *testing.T) {
	inBubble(t, "a FIN within a second marks a half-closer", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = (*peerConn).finLocked
		r := newRig(t, Options{}, []*peer{a})
		for range 100 {
			r.send(10, 100)
			r.pass(time.Second)
		}
		r.wantDials(a, 1)
		r.wantResent(r.finish(time.Second), 0, 0)
		if n := r.log.count("connected"); n != 1 {
			t.Errorf("logged %d connections", n)
		}
	})
	inBubble(t, "a half-closer is recognised while a write blocks", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = (*peerConn).finLocked
		a.holdAcks, a.sendBuf = true, 500
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(3 * time.Second)
		a.set(func() { a.holdAcks = false })
		r.pass(3 * time.Second)
		r.wantDials(a, 1)
		r.wantResent(r.finish(time.Second), 0, 0)
	})
	inBubble(t, "a target that becomes a half-closer is not dialled in a loop", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(5 * time.Second)
		a.set(func() { a.onAccept = (*peerConn).finLocked })
		a.conn(0).sendFIN()
		r.sendFullBuffers()
		r.pass(delivery.NotHalfCloserFor + 2*delivery.MaxDelay)
		if n := a.dialled(); n < 2 || n > 12 {
			t.Errorf("%d dials", n)
		}
		dials := a.dialled()
		r.sendFullBuffers()
		r.pass(time.Minute)
		r.wantDials(a, dials)
		if n := a.conn(-1).state().read; n != 10_000 {
			t.Errorf("%d bytes read over the last connection", n)
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}

func TestPeerFINWithoutReplacement(t *testing.T) {
	inBubble(t, "a target that ends some connections at once is not dialled in a loop", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			if c.id > 0 {
				c.finLocked()
			}
		}
		r := newRig(t, Options{Connections: 2}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Minute)
		if n := a.dialled(); n > 60 {
			t.Errorf("%d dials in a minute", n)
		}
		r.finish(2 * delivery.MaxDelay)
	})
	inBubble(t, "no replacement is available", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).sendFIN()
		r.pass(time.Second)
		if c := a.conn(0).state(); !c.halfClosed || !c.closed {
			t.Errorf("old connection: half-closed %v, closed %v", c.halfClosed, c.closed)
		}
		r.sendFullBuffers()
		r.pass(20 * time.Second)
		a.set(func() { a.refuse = false })
		r.wantResent(r.pass(4*time.Second), 0, 0)
		r.finish(time.Second)
	})
	inBubble(t, "goes elsewhere where home is down", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).exit()
		r.sendFullBuffers()
		s := r.pass(time.Second)
		if n := b.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
		if s.Targets[0].Failovers != 1 || s.Targets[0].Up || s.Targets[0].DialErrors != 1 {
			t.Errorf("%+v", s.Targets[0])
		}
		r.wantResent(r.finish(time.Second), 0, 0)
	})
}
