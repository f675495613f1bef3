package workerpool

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/delivery"
	"linesplit/linebuf"
	"linesplit/target"
)

// offering returns a rig that sends through one outlet.
func offering(t *testing.T, o Options, peers ...*peer) *rig {
	t.Helper()
	r := newRig(t, o, peers)
	outlet := r.pool.NewOutlet()
	r.outlet = func() *Outlet { return outlet }
	return r
}

func TestOutletWritesAtOnce(t *testing.T) {
	inBubble(t, "in the goroutine that offers", func(t *testing.T) {
		a := newPeer("a")
		r := offering(t, Options{}, a)
		r.sendFullBuffers()
		if n := len(a.conn(0).state().sent); n != 10_000 || len(r.lines) != 0 { // no other goroutine has run yet
			t.Errorf("%d bytes written, %d buffers on the channel", n, len(r.lines))
		}
		r.pass(time.Second)
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "spread over the workers", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := offering(t, Options{Connections: 2}, a, b)
		r.pool.parts.Store(0) // as under load
		for range 8 * stayWrites {
			r.send(1, 100)
		}
		for _, p := range r.peers {
			for i := range 2 {
				if n := len(p.conn(i).state().sent); n != 2*stayWrites*100 {
					t.Errorf("%s[%d] got %d bytes", p.name, i, n)
				}
			}
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

// An outlet that had given its only worker as much as one gets at a time took it for refused: each
// 65th buffer went over the channel, which wakes up the worker's goroutine.
func TestOutletComesBackToTheOnlyWorker(t *testing.T) {
	inBubble(t, "after as many writes as one gets", func(t *testing.T) {
		r := offering(t, Options{}, newPeer("a"))
		for i := range 4 * stayWrites {
			if b := r.buffer(1, 100, 0); !r.outlet().Offer(b) {
				t.Errorf("buffer %d was not taken", i)
				r.lines <- b
			}
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

// Lines that come one by one go to one connection after the other, and to the targets in turn.
func TestOutletSpreadsSingleLines(t *testing.T) {
	inBubble(t, "with pauses", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := offering(t, Options{Connections: 2}, a, b)
		for range 4 {
			r.send(1, 100)
			r.pass(10 * time.Millisecond)
			r.send(1, 100)
			r.pass(10 * time.Millisecond)
			if n, m := len(a.conn(0).state().sent)+len(a.conn(1).state().sent), len(b.conn(0).state().sent)+len(b.conn(1).state().sent); n != m {
				t.Errorf("%d bytes at one target, %d at the other", n, m)
			}
		}
		for _, p := range r.peers {
			for i := range 2 {
				if n := len(p.conn(i).state().sent); n != 200 {
					t.Errorf("%s[%d] got %d bytes", p.name, i, n)
				}
			}
		}
		r.finish(time.Second)
	})
}

func TestOutletNeverWaits(t *testing.T) {
	inBubble(t, "the worker writes what a full connection does not take", func(t *testing.T) {
		a := newPeer("a")
		a.sendBuf, a.holdAcks = 2500, true
		r := offering(t, Options{}, a)
		r.sendFullBuffers()
		c := a.conn(0)
		if n, waiting := len(c.state().sent), len(r.lines); n != 2500 || waiting != 7 {
			t.Errorf("%d bytes written, %d buffers on the channel; want 2500 and 7", n, waiting)
		}
		r.pass(time.Second)
		a.set(func() { a.holdAcks = false })
		r.pass(time.Second)
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "no worker is connected", func(t *testing.T) {
		a := newPeer("a")
		a.refuse = true
		r := offering(t, Options{}, a)
		r.sendFullBuffers()
		if n := len(r.lines); n != 10 {
			t.Errorf("%d buffers on the channel", n)
		}
		a.set(func() { a.refuse = false })
		r.pass(2 * time.Second)
		r.finish(time.Second)
	})
	inBubble(t, "a connection that breaks under its write", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := offering(t, Options{}, a, b)
		r.sendFullBuffers()
		for _, p := range r.peers {
			p.conn(0).do(func() { p.conns[0].err = errReset }) // no event tells the workers
		}
		r.sendFullBuffers()
		r.pass(delivery.InitialDelay * 2) // the outlet has poked the workers
		for _, p := range r.peers {
			r.wantDials(p, 2)
		}
		r.finish(time.Second)
	})
	inBubble(t, "a full window", func(t *testing.T) {
		a := newPeer("a")
		a.holdReads = true
		r := offering(t, Options{Tuning: Tuning{ResendMax: 5000, StallTimeout: time.Hour}}, a)
		r.sendFullBuffers()
		r.pass(time.Second)
		if n := len(a.conn(0).state().sent); n > 8000 {
			t.Errorf("%d bytes written", n)
		}
		a.set(func() { a.holdReads = false })
		r.pass(time.Second)
		r.finish(time.Second)
		r.wantOnce()
	})
}

// Many goroutines offer at once, while the workers write what comes over the channel.
func TestManyOutlets(t *testing.T) {
	inBubble(t, "beside the channel", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.sendBuf, b.sendBuf = 3000, 100_000
		r := newRig(t, Options{Connections: 2}, []*peer{a, b})
		var senders sync.WaitGroup
		for range 4 {
			outlet := r.pool.NewOutlet()
			var batch []*linebuf.Buffer
			for range 50 {
				batch = append(batch, r.buffer(10, 100, 0))
			}
			senders.Go(func() {
				for _, buf := range batch {
					if !outlet.Offer(buf) {
						r.lines <- buf
					}
					time.Sleep(target.Tick / 50)
				}
			})
		}
		senders.Wait()
		r.pass(time.Second)
		r.finish(10 * time.Second)
		r.wantOnce()
	})
}

// The pool's clock ticks the workers that it saw last, one of which may have ended meanwhile. Such
// a worker could take a buffer from the channel, and nothing wrote it.
func TestEndedWorkerTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := target.ParseAddress("127.0.0.1:1", false)
		if err != nil {
			t.Fatal(err)
		}
		p := New(linebuf.NewPool(1<<20), Options{Targets: []target.Address{a}})
		lines := make(chan *linebuf.Buffer)
		w := newWorker(p, 0, p.backends[0], lines)
		hard, stop := context.WithCancel(t.Context())
		stop()
		w.run(hard)
		taken := false
		go func() { lines <- p.buffers.MustGet(1); taken = true }()
		synctest.Wait()
		w.tickIfIdle(time.Now())
		synctest.Wait()
		if taken {
			t.Error("it took a buffer")
			return
		}
		<-lines
	})
}
