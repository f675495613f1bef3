package workerpool

import (
	"errors"
	"testing"
	"time"

	"linesplit/internal/delivery"
)

// A target that checks have found down is not dialled, even if no other is left.
func TestUnhealthyTargetIsNotDialled(t *testing.T) {
	unwell := errors.New("unwell")
	inBubble(t, "the other one is dialled, also the second time", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		r.pass(2 * time.Second)
		r.pool.Targets()[0].CheckedDown(unwell)
		a.conn(0).sendFIN()
		r.pass(2 * time.Second)
		b.conn(0).sendFIN()
		r.pass(2 * time.Second)
		r.sendFullBuffers()
		r.pass(2 * time.Second)
		r.wantDials(a, 1)
		r.wantDials(b, 2)
		r.finish(time.Second)
	})
	inBubble(t, "with all of them down, lines wait", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		r.pass(2 * time.Second)
		for _, x := range r.pool.Targets() {
			x.CheckedDown(unwell)
		}
		a.conn(0).sendFIN()
		r.pass(time.Second)
		r.sendFullBuffers()
		r.pass(time.Minute)
		r.wantDials(a, 1)
		r.wantDials(b, 0)
		if c := a.conn(0).state(); !c.closed || c.aborted {
			t.Errorf("old connection: closed %v, aborted %v", c.closed, c.aborted)
		}
		r.pool.Targets()[1].CheckedUp()
		r.pass(2 * delivery.MaxDelay)
		r.wantDials(a, 1)
		r.wantDials(b, 1)
		r.finish(time.Second)
	})
	inBubble(t, "a target that dials have marked down comes first", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{}, []*peer{a, b}, 0)
		r.pass(2 * time.Second)
		r.pool.Targets()[0].CheckedDown(unwell)
		r.pool.Targets()[1].DialFailed(unwell)
		a.conn(0).sendFIN()
		r.pass(time.Second)
		r.sendFullBuffers()
		r.pass(time.Second)
		r.wantDials(a, 1)
		r.wantDials(b, 1)
		r.finish(time.Second)
	})
}
