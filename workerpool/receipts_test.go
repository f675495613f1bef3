package workerpool

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// issued is a record of lines.
type issued struct {
	linebuf.Receipt
	released atomic.Int32
}

func (x *issued) Released(*linebuf.Receipt, int) { x.released.Add(1) }

// issue gives the lines of b a receipt.
func issue(b *linebuf.Buffer) *issued {
	x := &issued{}
	x.Init(x)
	b.Attach(&x.Receipt, 1)
	return x
}

// The parts of a buffer, some of which have no buffer of their own, have its receipt together.
func TestPartsShareTheReceipt(t *testing.T) {
	pool := linebuf.NewPool(1 << 20)
	b := pool.MustGet(128 << 10)
	b.B, b.Lines = append(b.B, strings.Repeat("some line\n", 400)...), 400
	x := issue(b)
	parts := make([]*linebuf.Buffer, 8)
	n := cut(pool, b, parts)
	for i, p := range parts[:n] {
		if x.released.Load() != 0 || !p.Kept() {
			t.Errorf("before part %d of %d: released %d times, it has a receipt: %v", i, n, x.released.Load(), p.Kept())
		}
		pool.Put(p)
	}
	if got := x.released.Load(); got != 1 || n != 8 {
		t.Errorf("released %d times after %d parts", got, n)
	}
}

// Lines take every way from an outlet to the target that confirms them. Their receipts are released
// once, and not before.
func TestReceiptsAreReleasedWhenLinesAreConfirmed(t *testing.T) {
	inBubble(t, "by an outlet, the channel, and another target", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.exact, b.exact, a.holdReads = true, true, true
		r := newRig(t, Options{Connections: 2}, []*peer{a, b})
		outlet := r.pool.NewOutlet()
		var all []*issued
		for i := range 60 {
			buf := r.buffer(1+i*7%40, 60, 0)
			all = append(all, issue(buf))
			if i%3 == 0 || !outlet.Offer(buf) {
				r.lines <- buf
			}
			if i%4 == 0 {
				r.pass(10 * time.Millisecond)
			}
		}
		s := r.pass(time.Second)
		released := 0
		for _, x := range all {
			released += int(x.released.Load())
		}
		if released == 0 || released == len(all) || s.Retained.Lines == 0 {
			t.Fatalf("%d of %d receipts are released, %+v", released, len(all), s)
		}
		a.conn(0).reset()
		a.conn(1).reset()
		a.set(func() { a.holdReads = false })
		r.finish(time.Minute)
		for i, x := range all {
			if n := x.released.Load(); n != 1 {
				t.Errorf("receipt %d is released %d times", i, n)
			}
		}
	})
}

// Lines that are scattered to lanes have the receipt of their buffer together.
func TestScatteredLinesShareTheReceipt(t *testing.T) {
	inBubble(t, "in many lanes", func(t *testing.T) {
		r := newKeyedRig(t, Options{}, 20, fourPeers()...)
		b := r.buffer()
		x := issue(b)
		if !r.outlet.Offer(b) {
			t.Fatal("no room")
		}
		r.outlet.Flush()
		synctest.Wait()
		if n := x.released.Load(); n != 0 {
			t.Errorf("released %d times before lines are confirmed", n)
		}
		r.finishInOrder()
		if n := x.released.Load(); n != 1 {
			t.Errorf("released %d times", n)
		}
	})
}
