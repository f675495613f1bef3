package upstream

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
)

// balancer chooses among backends. Group.mu is held during pick, so that a balancer needs no lock
// and may use the fields of Backend that balancers keep.
type balancer interface {
	// pick returns one of candidates, of which there is at least one. client is the zero Addr for
	// clients without an IP address. pick may reorder the slice but not keep it.
	pick(candidates []*Backend, client netip.Addr) *Backend
}

// The names of the balancers.
const (
	RoundRobin       = "round-robin"       // in turn, by weight
	LeastConnections = "least-connections" // fewest connections per weight; ties in turn
	Random           = "random"            // of two random ones by weight, that with fewer connections per weight
	SourceHash       = "source-hash"       // by client IP address; adding or removing a target moves only its share
	LeastBandwidth   = "least-bandwidth"   // fewest bytes per weight in about the last second; ties as LeastConnections
)

var balancerNames = []string{RoundRobin, LeastConnections, Random, SourceHash, LeastBandwidth}

// ParseBalance returns name if it is that of a balancer. Otherwise the error lists the names.
func ParseBalance(name string) (string, error) {
	for _, n := range balancerNames {
		if n == name {
			return n, nil
		}
	}
	return "", fmt.Errorf("balance %q: use one of %s", name, strings.Join(balancerNames, ", "))
}

func newBalancer(name string) balancer {
	switch name {
	case LeastConnections:
		return leastConnections{}
	case Random:
		return twoChoices{}
	case SourceHash:
		return sourceHash{}
	case LeastBandwidth:
		return leastBandwidth{}
	}
	return roundRobin{}
}

// roundRobin is smooth weighted round robin. In each turn every candidate gains its weight, and the
// one with the highest sum is picked and pays the weights of all. So a and b with weights 2 and 1
// come as a b a.
type roundRobin struct{}

func (roundRobin) pick(candidates []*Backend, _ netip.Addr) *Backend {
	var best *Backend
	var sum int64
	for _, b := range candidates {
		w := b.weight.Load()
		b.current += w
		sum += w
		if best == nil || b.current > best.current {
			best = b
		}
	}
	best.current -= sum
	return best
}

type leastConnections struct{}

func (leastConnections) pick(candidates []*Backend, client netip.Addr) *Backend {
	ties := least(candidates, connectionsPerWeight)
	return roundRobin{}.pick(ties, client)
}

func connectionsPerWeight(b *Backend) float64 {
	return float64(b.active.Load()) / float64(b.weight.Load())
}

// least returns the candidates with the lowest load.
func least(candidates []*Backend, load func(*Backend) float64) []*Backend {
	n := 0
	lowest := math.Inf(1)
	for _, b := range candidates {
		switch l := load(b); {
		case l < lowest:
			lowest, n = l, 1
			candidates[0] = b
		case l == lowest:
			candidates[n] = b
			n++
		}
	}
	return candidates[:n]
}

// twoChoices compares the load of only two candidates. That balances nearly as well as comparing
// all, and does not send all clients to the same one.
type twoChoices struct{}

func (twoChoices) pick(candidates []*Backend, _ netip.Addr) *Backend {
	var sum int64
	for _, b := range candidates {
		sum += b.weight.Load()
	}
	a := draw(candidates, nil, sum)
	if len(candidates) == 1 {
		return a
	}
	b := draw(candidates, a, sum-a.weight.Load())
	if connectionsPerWeight(b) < connectionsPerWeight(a) {
		return b
	}
	return a
}

// draw returns a random candidate other than except, by weight. sum is the sum of their weights.
func draw(candidates []*Backend, except *Backend, sum int64) *Backend {
	at := rand.Int64N(sum)
	for _, b := range candidates {
		if b == except {
			continue
		}
		if at -= b.weight.Load(); at < 0 {
			return b
		}
	}
	panic("upstream: weights do not add up")
}

// sourceHash is weighted rendezvous hashing: each pair of a client and a target has its own score,
// and the highest wins. The scores are the same in every process. Clients without an IP address are
// distributed in turn.
type sourceHash struct{}

func (sourceHash) pick(candidates []*Backend, client netip.Addr) *Backend {
	if !client.IsValid() {
		return roundRobin{}.pick(candidates, client)
	}
	var best *Backend
	highest := math.Inf(-1)
	h := hashAddr(client)
	for _, b := range candidates {
		if s := score(h, b); s > highest {
			best, highest = b, s
		}
	}
	return best
}

// score returns -weight/ln(u) with u from (0, 1). The probability of being the highest is
// proportional to the weight.
func score(client uint64, b *Backend) float64 {
	u := (float64(mix(client^b.key)>>11) + 0.5) / (1 << 53)
	return -float64(b.weight.Load()) / math.Log(u)
}

func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return mix(mix(binary.BigEndian.Uint64(b[:8])) + binary.BigEndian.Uint64(b[8:]))
}

func hashString(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return mix(h.Sum64())
}

// mix is the last step of splitmix64: each bit of x influences all bits of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	bandwidthSample = 100 * time.Millisecond // minimum time between two samples of the byte counts
	bandwidthMemory = time.Second            // age at which a sample counts for about a third (1/e)
)

// leastBandwidth compares the bytes per second of about the last second, both directions together.
type leastBandwidth struct{}

func (l leastBandwidth) pick(candidates []*Backend, client netip.Addr) *Backend {
	l.sample(candidates, time.Now())
	ties := least(candidates, func(b *Backend) float64 { return b.rate / float64(b.weight.Load()) })
	return leastConnections{}.pick(ties, client)
}

// sample updates the rates of backends whose last sample is older than bandwidthSample. The bytes
// of one that was no candidate for a while are spread over that time.
func (leastBandwidth) sample(backends []*Backend, now time.Time) {
	for _, b := range backends {
		passed := now.Sub(b.sampled)
		if passed < bandwidthSample {
			continue
		}
		b.sampled = now
		keep := math.Exp(-passed.Seconds() / bandwidthMemory.Seconds())
		count := b.BytesIn.Load() + b.BytesOut.Load()
		b.rate = b.rate*keep + float64(count-b.counted)/passed.Seconds()*(1-keep)
		b.counted = count
		if b.rate < 1 {
			b.rate = 0 // otherwise traffic of long ago would break ties
		}
	}
}
