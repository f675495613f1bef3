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

// balancer chooses among backends. A group holds its lock during pick, so a balancer needs none, and may use the fields of a place that
// are meant for it.
type balancer interface {
	// pick returns one of candidates, of which there is at least one. client is not valid for those without an IP address.
	// The slice is the caller's; the balancer may reorder it, but not keep it.
	pick(candidates []*Backend, client netip.Addr) *Backend
}

// The names of the balancers.
const (
	RoundRobin       = "round-robin"       // in turn, by weight
	LeastConnections = "least-connections" // the fewest connections for its weight; in turn where that is even
	Random           = "random"            // two at random by weight, and of these the one with fewer connections for its weight
	SourceHash       = "source-hash"       // by the client's IP address; a target's coming or going moves only its own share
	LeastBandwidth   = "least-bandwidth"   // the fewest bytes of late for its weight; then as LeastConnections
)

var balancerNames = []string{RoundRobin, LeastConnections, Random, SourceHash, LeastBandwidth}

// ParseBalance returns the balancer's name as Options.Balance takes it. The error says which there are.
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

// roundRobin is the smooth weighted one: everybody gains its weight, and the richest pays for all. So a, a, b with weights 2 and 1
// comes as a b a.
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
	even := least(candidates, connectionsPerWeight)
	return roundRobin{}.pick(even, client)
}

func connectionsPerWeight(b *Backend) float64 {
	return float64(b.active.Load()) / float64(b.weight.Load())
}

// least keeps those of candidates with the lowest load.
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

// twoChoices asks for the load of two only, which is nearly as good as asking all, and does not send everybody to the same.
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

// draw returns a random one other than not, by weight. sum is that of all their weights.
func draw(candidates []*Backend, not *Backend, sum int64) *Backend {
	at := rand.Int64N(sum)
	for _, b := range candidates {
		if b == not {
			continue
		}
		if at -= b.weight.Load(); at < 0 {
			return b
		}
	}
	panic("relay: weights do not add up")
}

// sourceHash is weighted rendezvous hashing: each pair of a client and a target has a score of its own, and the highest wins. The scores
// are the same in every process. Clients without an IP address are taken in turn.
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

// score is -weight/ln(u) with u from (0, 1): the chance to be the highest is in proportion to the weight.
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

// mix is the last step of splitmix64: each bit of x has an influence on all bits of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	bandwidthSample = 100 * time.Millisecond // the least time between two looks at the byte counts
	bandwidthMemory = time.Second            // after which what was counts for a third
)

// leastBandwidth goes by the bytes per second, both ways together, of about the last second.
type leastBandwidth struct{}

func (l leastBandwidth) pick(candidates []*Backend, client netip.Addr) *Backend {
	l.sample(candidates, time.Now())
	even := least(candidates, func(b *Backend) float64 { return b.rate / float64(b.weight.Load()) })
	return leastConnections{}.pick(even, client)
}

// sample looks at each place that was not looked at of late. One that was no candidate for a while has a longer time to account for.
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
			b.rate = 0 // else what was long ago would break ties
		}
	}
}
