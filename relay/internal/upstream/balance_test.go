package upstream

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"linesplit/target"
)

// newTestBackends returns a backend for each weight.
func newTestBackends(weights ...int) (backends []*Backend) {
	for i, w := range weights {
		a := target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprintf("10.0.0.%d:80", i+1), Weight: w}
		backends = append(backends, newBackend(target.New(a, nil)))
	}
	return backends
}

// addr returns one of 2^24 client addresses.
func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// pick passes a copy to the balancer, which may reorder its slice.
func pick(b balancer, backends []*Backend, client netip.Addr) *Backend {
	return b.pick(append([]*Backend(nil), backends...), client)
}

// TestSharesFollowWeights allows 2 % of all clients. They come one after the other and cause no
// load.
func TestSharesFollowWeights(t *testing.T) {
	const clients = 10000
	for _, name := range balancerNames {
		for _, weights := range [][]int{{1}, {1, 1, 1}, {3, 1}, {5, 3, 2}, {100, 1}, {1, 2, 3, 4, 10}} {
			b, backends := newBalancer(name), newTestBackends(weights...)
			got := map[*Backend]int{}
			for i := range clients {
				got[pick(b, backends, addr(i))]++
			}
			var sum int
			for _, w := range weights {
				sum += w
			}
			for i, p := range backends {
				want := float64(weights[i]) / float64(sum)
				if share := float64(got[p]) / clients; math.Abs(share-want) > 0.02 {
					t.Errorf("%s %v: share %.3f of target %d, want %.3f", name, weights, share, i, want)
				}
			}
		}
	}
}

func TestRoundRobinSpreadsTheTurnsOfAHeavyTarget(t *testing.T) {
	backends := newTestBackends(5, 1, 1)
	var got strings.Builder
	for range 7 {
		p := pick(roundRobin{}, backends, netip.Addr{})
		for i := range backends {
			if backends[i] == p {
				got.WriteString(string(rune('a' + i)))
			}
		}
	}
	if got.String() != "aabacaa" {
		t.Errorf("got %s", got.String())
	}
}

// TestSourceHashMovesOnlyTheClientsOfALostTarget also changes the order of the targets.
func TestSourceHashMovesOnlyTheClientsOfALostTarget(t *testing.T) {
	const clients = 10000
	backends := newTestBackends(1, 2, 3, 1)
	home := map[int]*Backend{}
	for i := range clients {
		home[i] = pick(sourceHash{}, backends, addr(i))
	}
	without := []*Backend{backends[3], backends[1], backends[0]} // without the third
	moved := map[*Backend]int{}
	for i := range clients {
		switch p := pick(sourceHash{}, without, addr(i)); {
		case home[i] == backends[2]:
			moved[p]++
		case p != home[i]:
			t.Fatalf("client %d moved", i)
		}
	}
	for i, want := range map[int]float64{0: 0.25, 1: 0.5, 3: 0.25} {
		lost := float64(moved[backends[0]] + moved[backends[1]] + moved[backends[3]])
		if share := float64(moved[backends[i]]) / lost; math.Abs(share-want) > 0.03 {
			t.Errorf("target %d took %.3f of the clients of the lost target, want %.3f", i, share, want)
		}
	}
	a, b := pick(sourceHash{}, backends, addr(1)), pick(sourceHash{}, newTestBackends(1, 2, 3, 1), addr(1))
	if a.Target.Address != b.Target.Address {
		t.Error("another process would choose another target")
	}
}

func TestBalancersByLoadFollowWeights(t *testing.T) {
	for _, name := range []string{LeastConnections, Random} {
		b, backends := newBalancer(name), newTestBackends(1, 3)
		for range 4000 { // connections that stay
			pick(b, backends, netip.Addr{}).active.Add(1)
		}
		if n := backends[1].active.Load(); n < 2990 || n > 3010 {
			t.Errorf("%s: %d of 4000 at the target with three quarters of the weight", name, n)
		}
	}
	backends := newTestBackends(1, 1)
	backends[0].active.Store(1)
	for range 100 {
		if pick(leastConnections{}, backends, netip.Addr{}) != backends[1] {
			t.Fatal("chose the one with more connections")
		}
	}
}

func TestLeastBandwidthPicksTheLowestRatePerWeight(t *testing.T) {
	backends := newTestBackends(1, 2, 1)
	b := leastBandwidth{}
	now := time.Now()
	b.sample(backends, now)
	backends[0].BytesIn.Store(3000)
	backends[1].BytesOut.Store(4000) // less, for its weight
	backends[2].BytesOut.Store(9000)
	b.sample(backends, now.Add(time.Second))
	for _, p := range backends {
		p.sampled = time.Now().Add(time.Hour) // no more samples
	}
	if pick(b, backends, netip.Addr{}) != backends[1] {
		t.Error("did not choose the target with the lowest rate")
	}
	b.sample(backends, time.Now().Add(time.Hour+time.Minute))
	for _, p := range backends {
		if p.rate != 0 {
			t.Errorf("after a minute of silence: %v", p.rate)
		}
	}
}

// The bytes that a target moved while it was no candidate are spread over all that time.
func TestLeastBandwidthAfterAbsence(t *testing.T) {
	a, b := newBackend(newTarget(t, "tcp://10.0.0.1:80")), newBackend(newTarget(t, "tcp://10.0.0.2:80"))
	l, now := leastBandwidth{}, time.Now()
	l.sample([]*Backend{a, b}, now)
	for range 100 {
		now = now.Add(time.Second)
		a.BytesIn.Add(1000)
		b.BytesIn.Add(2000)
		l.sample([]*Backend{b}, now)
	}
	now = now.Add(100 * time.Millisecond)
	if l.sample([]*Backend{a, b}, now); a.rate > b.rate {
		t.Errorf("%.0f and %.0f bytes per second", a.rate, b.rate)
	}
}
