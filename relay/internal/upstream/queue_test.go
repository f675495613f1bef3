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

// newFullGroup returns a group whose only target is at its limit of one connection.
func newFullGroup(timeout time.Duration) (*Group, *Backend) {
	a := target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.1:80", MaxConnections: 1}
	g := newTestSet(Options{
		Targets:  []*target.Target{target.New(a, nil)},
		Settings: settings(traffic.Tuning{QueueTimeout: timeout}),
	}).Streams
	return g, g.TryAcquire(netip.Addr{}, nil)
}

// TestWaitersAreServedFirstInFirstOut lets some leave the queue meanwhile.
func TestWaitersAreServedFirstInFirstOut(t *testing.T) {
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
				_, w := g.Acquire(netip.Addr{}, nil)
				p, why := g.Wait(ctx, w)
				if p == nil {
					if why != traffic.EndShutdown {
						t.Errorf("%d: %v", i, why)
					}
					return
				}
				got = append(got, i) // needs no lock: the limit is one connection
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

func TestWaitEndsAfterTheQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := newFullGroup(5 * time.Second)
		begin := time.Now()
		_, w := g.Acquire(netip.Addr{}, nil)
		if _, why := g.Wait(t.Context(), w); why != traffic.EndQueueTimeout || time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v", why, time.Since(begin))
		}
		g.release(p)
		if p, _ := g.Acquire(netip.Addr{}, nil); p == nil {
			t.Error("no room, although no client waits")
		}
	})
}

func TestTargetThatComesBackServesTheQueue(t *testing.T) {
	full := target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.1:80", MaxConnections: 1}, nil)
	other := target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.2:80"}, nil)
	other.CheckedDown(io.EOF)
	g := newTestSet(Options{Targets: []*target.Target{full, other}}).Streams
	g.TryAcquire(netip.Addr{}, nil)
	_, w := g.Acquire(netip.Addr{}, nil)
	other.CheckedUp()
	g.ServeQueue()
	if p, why := g.Wait(t.Context(), w); p == nil || p.Target != other {
		t.Errorf("%v", why)
	}
}

// A client that came before any target was found was refused at once.
func TestClientWaitsForTheFirstTarget(t *testing.T) {
	s := newTestSet(Options{Settings: settings(traffic.Tuning{QueueTimeout: time.Minute})})
	b, w := s.Streams.Acquire(netip.Addr{}, nil)
	if b != nil || w == nil {
		t.Fatalf("acquired %v, waits: %t", b, w != nil)
	}
	must(t, s.Add(newTarget(t, "10.0.0.1:80")))
	if b, why := s.Streams.Wait(t.Context(), w); b == nil {
		t.Errorf("no target: %v", why)
	}
}
