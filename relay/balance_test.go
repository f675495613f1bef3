package relay

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"linesplit/target"
)

// newPlaces has one for each weight.
func newPlaces(weights ...int) (places []*place) {
	for i, w := range weights {
		a := target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprintf("10.0.0.%d:80", i+1), Weight: w}
		places = append(places, newPlace(target.New(a, nil)))
	}
	return places
}

// addr is one of 2^24 clients.
func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// pick leaves places as they are: a balancer may reorder what it is given.
func pick(b balancer, places []*place, client netip.Addr) *place {
	return b.pick(append([]*place(nil), places...), client)
}

// TestWeights: each share is within 2 % of all of what the weight says, for clients that come one after the other without load.
func TestWeights(t *testing.T) {
	const clients = 10000
	for _, name := range balancerNames {
		for _, weights := range [][]int{{1}, {1, 1, 1}, {3, 1}, {5, 3, 2}, {100, 1}, {1, 2, 3, 4, 10}} {
			b, places := newBalancer(name), newPlaces(weights...)
			got := map[*place]int{}
			for i := range clients {
				got[pick(b, places, addr(i))]++
			}
			var sum int
			for _, w := range weights {
				sum += w
			}
			for i, p := range places {
				want := float64(weights[i]) / float64(sum)
				if share := float64(got[p]) / clients; math.Abs(share-want) > 0.02 {
					t.Errorf("%s %v: share %.3f of target %d, want %.3f", name, weights, share, i, want)
				}
			}
		}
	}
}

// TestSmooth: the heavy one does not come in a row.
func TestSmooth(t *testing.T) {
	places := newPlaces(5, 1, 1)
	var got strings.Builder
	for range 7 {
		p := pick(roundRobin{}, places, netip.Addr{})
		for i := range places {
			if places[i] == p {
				got.WriteString(string(rune('a' + i)))
			}
		}
	}
	if got.String() != "aabacaa" {
		t.Errorf("got %s", got.String())
	}
}

// TestSourceHash: a client stays where it is, whatever the order; and when a target goes or comes, only its own clients move.
func TestSourceHash(t *testing.T) {
	const clients = 10000
	places := newPlaces(1, 2, 3, 1)
	home := map[int]*place{}
	for i := range clients {
		home[i] = pick(sourceHash{}, places, addr(i))
	}
	without := []*place{places[3], places[1], places[0]} // the third is lost
	moved := map[*place]int{}
	for i := range clients {
		switch p := pick(sourceHash{}, without, addr(i)); {
		case home[i] == places[2]:
			moved[p]++
		case p != home[i]:
			t.Fatalf("client %d moved", i)
		}
	}
	for i, want := range map[int]float64{0: 0.25, 1: 0.5, 3: 0.25} {
		lost := float64(moved[places[0]] + moved[places[1]] + moved[places[3]])
		if share := float64(moved[places[i]]) / lost; math.Abs(share-want) > 0.03 {
			t.Errorf("target %d took %.3f of what was lost, want %.3f", i, share, want)
		}
	}
	if a, b := pick(sourceHash{}, places, addr(1)), pick(sourceHash{}, newPlaces(1, 2, 3, 1), addr(1)); a.t.Address != b.t.Address {
		t.Error("another process would choose another target")
	}
}

// TestByLoad: balancers that go by load leave a loaded target alone, in proportion to weights.
func TestByLoad(t *testing.T) {
	for _, name := range []string{LeastConnections, Random} {
		b, places := newBalancer(name), newPlaces(1, 3)
		for range 4000 { // connections that stay
			pick(b, places, netip.Addr{}).active.Add(1)
		}
		if n := places[1].active.Load(); n < 2990 || n > 3010 {
			t.Errorf("%s: %d of 4000 at the target with three quarters of the weight", name, n)
		}
	}
	places := newPlaces(1, 1)
	places[0].active.Store(1)
	for range 100 {
		if pick(leastConnections{}, places, netip.Addr{}) != places[1] {
			t.Fatal("chose the one with more connections")
		}
	}
}

func TestLeastBandwidth(t *testing.T) {
	places := newPlaces(1, 2, 1)
	b := leastBandwidth{}
	now := time.Now()
	b.sample(places, now)
	places[0].bytesIn.Store(3000)
	places[1].bytesOut.Store(4000) // less, for its weight
	places[2].bytesOut.Store(9000)
	b.sample(places, now.Add(time.Second))
	for _, p := range places {
		p.sampled = time.Now().Add(time.Hour) // no more samples
	}
	if pick(b, places, netip.Addr{}) != places[1] {
		t.Error("did not choose the one with the least")
	}
	b.sample(places, time.Now().Add(time.Hour+time.Minute))
	for _, p := range places {
		if p.rate != 0 {
			t.Errorf("after a minute of silence: %v", p.rate)
		}
	}
}

// TestCandidates: who may be chosen, by what is known of the targets.
func TestCandidates(t *testing.T) {
	const up, failed, ejected = 'u', 'f', 'e' // by dials, by checks
	for _, c := range []struct{ primaries, backups, tried, want string }{
		{"uu", "u", "", "01"},
		{"fu", "u", "", "1"},
		{"ff", "u", "", "2"},
		{"ff", "f", "", "01"},
		{"ef", "f", "", "1"},
		{"ee", "f", "", "2"},
		{"ee", "e", "", ""},
		{"uu", "u", "0", "1"},
		{"uu", "u", "01", "2"},
		{"uu", "u", "012", ""},
		{"ff", "", "0", "1"},
		{"eu", "", "1", ""},
	} {
		o := Options{}
		for i, state := range c.primaries + c.backups {
			a := target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprintf("10.0.0.%d:80", i+1), Backup: i >= len(c.primaries)}
			p := target.New(a, nil)
			switch state {
			case failed:
				p.DialFailed(io.EOF)
			case ejected:
				p.CheckedDown(io.EOF)
			case up:
			}
			o.Targets = append(o.Targets, p)
		}
		g := New(o).streams
		got := map[byte]bool{}
		for range 20 {
			var out tried
			for _, i := range c.tried {
				out.add(g.all()[i-'0'])
			}
			if p := g.tryAcquire(netip.Addr{}, &out); p != nil {
				got[p.t.Address.Host[7]-1] = true
				g.release(p)
			}
		}
		ok := len(got) == len(c.want)
		for i := range c.want {
			ok = ok && got[c.want[i]]
		}
		if !ok {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

// TestRates: a second's worth at once, then as the rate says; and memory stays bounded whoever comes.
func TestRates(t *testing.T) {
	r := newRates(5)
	now := time.Now()
	allowed := 0
	for i := range 1000 { // for 10 s
		if r.allow(addr(0), now.Add(time.Duration(i)*10*time.Millisecond)) {
			allowed++
		}
	}
	if allowed < 53 || allowed > 55 {
		t.Errorf("%d in 10 s at 5/s", allowed)
	}
	for i := range 5 * ratesMost {
		if !r.allow(addr(i+1), now) {
			t.Fatal("refused the first of a client")
		}
	}
	if n := len(r.now) + len(r.old); n > 2*ratesMost {
		t.Errorf("%d clients are remembered", n)
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, name := range balancerNames {
		b.Run(name, func(b *testing.B) {
			o := Options{Balance: name}
			for i := range 8 {
				o.Targets = append(o.Targets, newTarget(b, fmt.Sprintf("10.0.0.%d:80", i+1)))
			}
			g := New(o).streams
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				g.release(g.tryAcquire(addr(i), nil))
			}
		})
	}
}
