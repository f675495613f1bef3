// Package rendezvous chooses one of several nodes for a key, by weighted rendezvous hashing: each
// node has a score for each key, and the node with the highest score gets the key. So each node
// gets keys in proportion to its weight, and when a node comes or goes, no key moves between the
// others.
package rendezvous

import (
	"math"

	"github.com/cespare/xxhash/v2"
)

// Node is a place that gets a share of the keys.
type Node struct {
	ID     uint64  // the same in every process; see ID
	Weight float64 // share of the keys relative to other nodes; above 0
}

// ID returns the ID of the node with that name.
func ID(name string) uint64 { return xxhash.Sum64String(name) }

// Pick returns the index of the node that key belongs to, or -1 if nodes is empty. Which node that
// is does not depend on their order.
func Pick(key uint64, nodes []Node) int {
	best, most := -1, math.Inf(-1)
	for i, n := range nodes {
		s := score(key, n)
		if s > most || s == most && n.ID > nodes[best].ID {
			best, most = i, s
		}
	}
	return best
}

// Bucket returns a number from 0 to n-1 for key, each of them equally often; n must be above 0.
// When n grows by one, only those keys change their bucket that go to the new one.
func Bucket(key uint64, n int) int {
	// Jump consistent hashing, of Lamping and Veach: a key whose bucket is at stays there until the
	// number of buckets exceeds (at+1)/u for a random u, and then goes to the newest bucket. So it
	// is found in O(log n) steps, without a look at each bucket.
	const step = 0x9e3779b97f4a7c15 // of a sequence in which no value comes again
	at, next := 0, 0.0
	for next < float64(n) {
		at = int(next)
		key += step
		next = math.Floor(float64(at+1) / unit(mix(key)))
	}
	return at
}

// score returns 1/x for a number x from the exponential distribution whose rate is the weight of n.
// Among several such numbers, the probability that x of one node is the smallest is proportional to
// the node's weight.
func score(key uint64, n Node) float64 {
	return -n.Weight / math.Log(unit(mix(key^n.ID)))
}

// unit returns a number within 0 and 1, both excluded, that is evenly distributed if x is.
func unit(x uint64) float64 {
	const bits = 53 // that a float64 holds exactly
	return (float64(x>>(64-bits)) + 0.5) / (1 << bits)
}

// mix is the finalizer of MurmurHash3: a change of any bit of x changes each bit of the result with
// a probability of about 1/2.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return x
}
