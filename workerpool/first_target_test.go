package workerpool

import (
	"testing"
	"testing/synctest"
	"time"
)

// A pool without a target ended at once, and lines waited for ever.
func TestPoolWaitsForItsFirstTarget(t *testing.T) {
	inBubble(t, "lines wait for it", func(t *testing.T) {
		r := newRig(t, Options{Connections: 2}, nil)
		r.sendFullBuffers()
		r.pass(time.Minute)
		a := r.join("a")
		r.pass(time.Second)
		if a.bytes() == 0 {
			t.Error("gets nothing")
		}
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "also after the end of the input", func(t *testing.T) {
		r := newRig(t, Options{}, nil)
		r.sendFullBuffers()
		r.endInput()
		r.pass(time.Minute)
		r.join("a")
		r.pass(30 * time.Second)
		r.wantEnded()
		r.wantOnce()
	})
	inBubble(t, "and for nothing if there are no lines", func(t *testing.T) {
		r := newRig(t, Options{}, nil)
		r.pass(time.Minute)
		r.endInput()
		synctest.Wait()
		r.wantEnded()
		r.wantErr(r.pool.Add(newPeer("a").addr), ErrEnding)
	})
	inBubble(t, "until it is told to stop", func(t *testing.T) {
		r := newRig(t, Options{}, nil)
		r.sendFullBuffers()
		r.hard()
		synctest.Wait()
		r.wantEnded()
	})
	keyedPoolsWaitForTheirFirstTarget(t)
}

// endInput ends the channel of lines, and says that no outlet brings any more.
func (r *rig) endInput() {
	close(r.lines)
	r.pool.EndInput()
}

// keyedPoolsWaitForTheirFirstTarget tests the same of pools with keys.
func keyedPoolsWaitForTheirFirstTarget(t *testing.T) {
	inBubble(t, "with keys, also after the end of the input", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 4)
		r.lines <- r.buffer()
		synctest.Wait()
		r.endInput()
		r.pass(time.Minute)
		a := r.join("a")
		r.pass(30 * time.Second)
		if a.bytes() == 0 {
			t.Error("gets nothing")
		}
		r.wantEnded()
	})
	inBubble(t, "with keys, for nothing", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 4)
		r.endInput()
		synctest.Wait()
		r.wantEnded()
	})
	inBubble(t, "with keys", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 4)
		b := r.buffer()
		room := r.outlet.Room()
		if r.outlet.Offer(b) {
			t.Fatal("lines have gone somewhere")
		}
		r.pass(time.Minute)
		a := r.join("a")
		<-room
		if !r.outlet.Offer(b) {
			t.Fatal("there is no room yet")
		}
		r.pass(time.Second)
		if a.bytes() == 0 {
			t.Error("gets nothing")
		}
	})
}
