package workerpool

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

func TestRunEndsAtOnceWithNothingToDeliver(t *testing.T) {
	inBubble(t, "nothing was ever sent", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a"), newPeer("b")})
		r.finish(2 * target.Tick)
	})
	inBubble(t, "all down and nothing to deliver", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse, b.refuse = true, true
		r := newRig(t, Options{}, []*peer{a, b})
		r.pass(time.Minute)
		r.finish(3 * target.Tick)
	})
	inBubble(t, "nothing to deliver, and a dial hangs", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.hang = true
		r := newRig(t, Options{}, []*peer{a, b})
		r.sendFullBuffers()
		r.pass(time.Second)
		r.finish(3 * target.Tick)
	})
}

func TestRunEndsWhileDialling(t *testing.T) {
	inBubble(t, "a failback dial hangs at the end", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Minute}}, []*peer{a, b}, 0)
		a.set(func() { a.refuse, a.hang, a.succeedsLate = false, true, true })
		r.sendFullBuffers()
		r.pass(2 * time.Minute)
		r.wantDials(a, 2)
		r.finish(3 * target.Tick) // also checks that the late connection is closed
		if a.conn(0) == nil {
			t.Error("no late connection: the test proves nothing")
		}
	})
	inBubble(t, "a failback dial ends while the old connection is waited for", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Minute, StallTimeout: time.Hour}},
			[]*peer{a, b}, 0)
		a.set(func() { a.refuse, a.delay = false, 10*time.Second })
		b.set(func() { b.holdReads = true })
		r.sendFullBuffers()
		r.pass(65 * time.Second)
		close(r.lines)
		r.pass(time.Minute)
		b.set(func() { b.holdReads = false })
		r.wantEnd(t, time.Second)
		r.wantResent(r.checkedStats(), 0, 0)
	})
}

func TestFailureAtTheEndIsResent(t *testing.T) {
	inBubble(t, "the channel still holds lines", func(t *testing.T) {
		a := newPeer("a")
		a.delay = time.Second
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.wantResent(r.finish(2*time.Second), 0, 0)
	})
	inBubble(t, "a failure that shows only when the connection is left", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		a.set(func() { a.holdAcks = true })
		r.sendFullBuffers()
		r.pass(time.Second)
		c := a.conn(0)
		c.do(func() { c.err = errReset; a.holdAcks = false }) // no event: the worker must find out by itself
		close(r.lines)
		r.wantEnd(t, 5*time.Second)
		r.wantResent(r.checkedStats(), 100, 0)
	})
	inBubble(t, "failures after our FIN, one after another", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) {
			if c.id < 3 {
				c.readLimit = 5000
			}
		}
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		close(r.lines)
		for i := range 3 {
			time.Sleep(4 * time.Second)
			synctest.Wait()
			c := a.conn(i)
			if c == nil {
				t.Fatalf("%d connections", i)
			}
			if s := c.state(); !s.halfClosed || s.read != 5000 {
				t.Fatalf("connection %d: half-closed %v, %d read", i, s.halfClosed, s.read)
			}
			c.reset()
		}
		r.wantEnd(t, 4*time.Second)
		r.wantResent(r.checkedStats(), 0, 300)
	})
}

func TestFailureAtTheEndIsRetried(t *testing.T) {
	inBubble(t, "endless resets make delays grow", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		a.set(func() { a.holdReads = true })
		r.sendFullBuffers()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Second)
		a.set(func() { a.onAccept = func(c *peerConn) { c.failLocked(errReset) } })
		a.conn(0).reset()
		r.pass(time.Minute)
		if n := a.dialled(); n < 15 || n > 80 {
			t.Errorf("%d dials in a minute", n)
		}
		a.set(func() { a.onAccept, a.holdReads = nil, false })
		r.wantEnd(t, 2*delivery.MaxDelay)
	})
	inBubble(t, "on another target", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		a.set(func() { a.holdReads = true })
		r.sendFullBuffers()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		r.wantEnd(t, time.Second)
		if n := b.conn(0).state().read; n != 10_000 {
			t.Errorf("%d bytes at the other", n)
		}
	})
}

func TestSlowTargetAtTheEnd(t *testing.T) {
	inBubble(t, "stalled after our FIN", func(t *testing.T) {
		r, a, _ := stalledPair(t, Options{})
		close(r.lines)
		r.pass(10 * time.Second)
		a.set(func() { a.holdReads = false })
		r.wantEnd(t, time.Second)
		r.wantResent(r.checkedStats(), 0, 0)
	})
	inBubble(t, "never answers our FIN: age confirms", func(t *testing.T) {
		a := newPeer("a")
		a.ignoresFIN = true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		start := time.Now()
		r.finish(12 * time.Second)
		if took := time.Since(start); took < 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
	inBubble(t, "never answers our FIN and reads nothing: hard ends it", func(t *testing.T) {
		a := newPeer("a")
		a.ignoresFIN, a.holdReads = true, true
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		close(r.lines)
		r.pass(time.Hour)
		r.stop(2 * target.Tick)
		r.wantError(100)
	})
	inBubble(t, "the window is full when the channel closes", func(t *testing.T) {
		a := newPeer("a")
		a.holdReads = true
		r := newRig(t, Options{Tuning: Tuning{ResendMax: 5000, StallTimeout: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Minute)
		a.set(func() { a.holdReads = false })
		r.wantEnd(t, time.Second)
		r.wantResent(r.checkedStats(), 0, 0)
	})
}

func TestPeerFINAtTheEnd(t *testing.T) {
	inBubble(t, "the peer's FIN comes as the channel closes", func(t *testing.T) {
		for _, finFirst := range []bool{false, true} {
			for _, read := range []int{0, 5050, noLimit} {
				a := newPeer("a")
				a.onAccept = func(c *peerConn) {
					if c.id == 0 {
						c.readLimit = read
					}
				}
				r := newRig(t, Options{}, []*peer{a})
				r.sendFullBuffers()
				r.pass(2 * time.Second)
				if finFirst {
					a.conn(0).sendFIN()
					close(r.lines)
				} else {
					close(r.lines)
					a.conn(0).sendFIN()
				}
				r.pass(time.Second)
				a.conn(0).exit()
				r.wantEnd(t, 20*time.Second)
			}
		}
	})
}

// wantEnd is finish for a channel that is closed already.
func (r *rig) wantEnd(t *testing.T, limit time.Duration) {
	t.Helper()
	r.waitEnd(limit)
	if r.err != nil {
		t.Fatalf("Run: %v", r.err)
	}
	s := r.checkedStats()
	if s.Retained.Lines != 0 {
		t.Fatalf("%d lines retained at the end", s.Retained.Lines)
	}
	r.wantDelivered(s)
	r.wantClosed(s)
	if n := r.buffers.InUse(); n != 0 {
		t.Fatalf("%d bytes of buffers were not given back", n)
	}
}

// wantError demands that the error of Run gives the right number of unconfirmed lines.
func (r *rig) wantError(lines int) {
	r.t.Helper()
	s := r.pool.Stats()
	if s.Retained.Lines != uint64(lines) {
		r.t.Errorf("%d lines retained, want %d", s.Retained.Lines, lines)
	}
	if r.err == nil ||
		!strings.HasPrefix(r.err.Error(), fmt.Sprintf("%d lines (%d bytes)", s.Retained.Lines, s.Retained.Bytes)) {
		r.t.Errorf("Run: %v; retained %d lines, %d bytes", r.err, s.Retained.Lines, s.Retained.Bytes)
	}
}

func TestHardEndIsPrompt(t *testing.T) {
	inBubble(t, "idle", func(t *testing.T) {
		r := newRig(t, Options{}, []*peer{newPeer("a")})
		r.pass(time.Second)
		r.stop(2 * target.Tick)
		if r.err != nil {
			t.Errorf("Run: %v", r.err)
		}
	})
	inBubble(t, "all down", func(t *testing.T) {
		a := newPeer("a")
		a.refuse = true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Minute)
		close(r.lines)
		r.pass(time.Minute)
		r.stop(2 * target.Tick)
	})
	inBubble(t, "while a dial hangs", func(t *testing.T) {
		a := newPeer("a")
		a.hang, a.succeedsLate = true, true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Minute)
		r.stop(2 * target.Tick)
	})
	inBubble(t, "with a long backlog to a slow target", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		a.set(func() { a.holdReads, a.recvBuf, a.sendBuf = true, 4<<20, 4<<20 })
		for range 200 {
			r.send(40, 100)
		}
		r.pass(time.Second)
		// Each write takes less than a tick, so that waiting is never called.
		a.set(func() {
			a.holdReads = false
			a.onAccept = func(c *peerConn) { c.slow = target.Tick / 2 }
		})
		a.conn(0).reset()
		r.pass(time.Second)
		r.stop(10 * target.Tick)
	})
}

func TestHardEndReportsUnconfirmedLines(t *testing.T) {
	inBubble(t, "in the middle of a write", func(t *testing.T) {
		a := newPeer("a")
		a.sendBuf, a.holdAcks = 550, true
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		s := r.stop(2 * target.Tick)
		r.wantError(10) // the others were never taken
		r.wantResent(s, 0, 0)
	})
	inBubble(t, "down after it had something", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		r.pass(time.Second)
		close(r.lines)
		r.pass(time.Minute)
		r.stop(2 * target.Tick)
		r.wantError(100)
	})
	inBubble(t, "more than one connection", func(t *testing.T) {
		a := newPeer("a")
		a.onAccept = func(c *peerConn) { c.readLimit = 0 }
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour}}, []*peer{a})
		for range 3 {
			r.sendFullBuffers()
			r.pass(2 * time.Second)
			a.conn(-1).sendFIN()
		}
		r.pass(time.Second)
		r.stop(2 * target.Tick)
		r.wantError(300)
	})
}
