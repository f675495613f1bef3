package upstream

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// newFullGroup has one target with one place, which is taken.
func newFullGroup(patience time.Duration) (*Group, *Backend) {
	a := target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.1:80", MaxConnections: 1}
	g := newSet(Options{Targets: []*target.Target{target.New(a, nil)}, Settings: settings(traffic.Tuning{QueueTimeout: patience})}).Streams
	return g, g.TryAcquire(netip.Addr{}, nil)
}

// TestQueueOrder: who waits longest comes first, whoever leaves the queue meanwhile.
func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := newFullGroup(time.Minute)
		var got []int
		var all sync.WaitGroup
		leave, cancel := context.WithCancel(t.Context())
		for i := range 6 {
			ctx := t.Context()
			if i%3 == 1 {
				ctx = leave
			}
			all.Go(func() {
				_, w := g.Enter(netip.Addr{}, nil)
				p, why := g.Wait(ctx, w)
				if p == nil {
					if why != traffic.EndShutdown {
						t.Errorf("%d: %v", i, why)
					}
					return
				}
				got = append(got, i) // one at a time: there is one place
				time.Sleep(time.Second)
				g.release(p)
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		g.release(p)
		all.Wait()
		if !slices.Equal(got, []int{0, 2, 3, 5}) || g.waiting() != 0 || p.active.Load() != 0 {
			t.Errorf("served %v, %d wait, %d active", got, g.waiting(), p.active.Load())
		}
	})
}

// TestQueuePatience: a client waits exactly as long as it may.
func TestQueuePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := newFullGroup(5 * time.Second)
		begin := time.Now()
		_, w := g.Enter(netip.Addr{}, nil)
		if _, why := g.Wait(t.Context(), w); why != traffic.EndQueueTimeout || time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v", why, time.Since(begin))
		}
		g.release(p)
		if p, _ := g.Enter(netip.Addr{}, nil); p == nil {
			t.Error("nobody waits, and there is no room")
		}
	})
}

// TestQueueReturn: a target that comes back has room for those who wait, though it does not tell.
func TestQueueReturn(t *testing.T) {
	full := target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.1:80", MaxConnections: 1}, nil)
	other := target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.2:80"}, nil)
	other.CheckedDown(io.EOF)
	g := newSet(Options{Targets: []*target.Target{full, other}}).Streams
	g.TryAcquire(netip.Addr{}, nil)
	_, w := g.Enter(netip.Addr{}, nil)
	other.CheckedUp()
	g.ServeQueue()
	if p, why := g.Wait(t.Context(), w); p == nil || p.Target != other {
		t.Errorf("%v", why)
	}
}
