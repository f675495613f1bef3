package rendezvous

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
)

const keys = 100_000

func nodes(names ...string) (all []Node) {
	for _, name := range names {
		all = append(all, Node{ID: ID(name), Weight: 1})
	}
	return all
}

func key(i int) uint64 { return xxhash.Sum64String(fmt.Sprint("key-", i)) }

// assign returns the ID of each key's node.
func assign(t *testing.T, n []Node) (all []uint64) {
	t.Helper()
	for i := range keys {
		all = append(all, n[Pick(key(i), n)].ID)
	}
	return all
}

// near checks that got is within 2 % of want.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.02*want {
		t.Errorf("%s: %v, want about %v", what, got, want)
	}
}

func TestEachNodeGetsItsShare(t *testing.T) {
	n := nodes("a:1", "b:1", "c:1", "d:1")
	n[1].Weight, n[2].Weight, n[3].Weight = 2, 3, 0.5
	got := map[uint64]int{}
	for _, id := range assign(t, n) {
		got[id]++
	}
	for i, n := range n {
		near(t, fmt.Sprint("keys of node ", i), float64(got[n.ID]), keys*n.Weight/6.5)
	}
}

// When one of five nodes goes away, only its fifth of the keys moves. When it is replaced by
// another node, keys move only to the new node or from the old one.
func TestFewKeysMove(t *testing.T) {
	names := []string{"10.0.0.1:9999", "10.0.0.2:9999", "10.0.0.3:9999", "10.0.0.4:9999", "10.0.0.5:9999"}
	before := assign(t, nodes(names...))
	without := assign(t, nodes(names[:4]...))
	moved := 0
	for i := range before {
		switch {
		case before[i] == ID(names[4]):
			moved++
		case before[i] != without[i]:
			t.Fatalf("key %d moved between nodes that stayed", i)
		}
	}
	near(t, "moved keys", float64(moved), keys/5)

	names[4] = "10.0.0.9:9999"
	for i, id := range assign(t, nodes(names...)) {
		if id != before[i] && id != ID(names[4]) && before[i] != ID("10.0.0.5:9999") {
			t.Fatalf("key %d moved between nodes that stayed", i)
		}
	}
}

// A node whose weight grows takes keys from the others; no key moves between those.
func TestWeightMovesKeysToItsNodeOnly(t *testing.T) {
	n := nodes("a", "b", "c")
	before := assign(t, n)
	n[0].Weight = 2
	for i, id := range assign(t, n) {
		if id != before[i] && id != n[0].ID {
			t.Fatalf("key %d moved between nodes whose weights stayed", i)
		}
	}
}

func TestOrderOfNodesMeansNothing(t *testing.T) {
	n := nodes("a", "b", "c", "d")
	before := assign(t, n)
	slices.Reverse(n)
	if !slices.Equal(before, assign(t, n)) {
		t.Error("keys moved as the nodes were listed in another order")
	}
}

// Keys keep their nodes when the process restarts, in every release.
func TestAssignmentIsStable(t *testing.T) {
	n := nodes("a", "b", "c", "d", "e")
	var got []int
	for i := range 12 {
		got = append(got, Pick(key(i), n))
	}
	if want := []int{3, 3, 4, 2, 4, 4, 0, 4, 0, 2, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, was %v", got, want)
	}
}

func TestNoNodes(t *testing.T) {
	if got := Pick(1, nil); got != -1 {
		t.Errorf("got %d", got)
	}
}

// Each bucket gets as many keys as any other, and one bucket more takes its share and moves nothing
// else.
func TestBuckets(t *testing.T) {
	before := make([]int, keys)
	for n := 1; n <= 9; n++ {
		got := make([]float64, n)
		for i := range keys {
			b := Bucket(uint64(i), n)
			if b != before[i] && b != n-1 {
				t.Fatalf("with bucket %d, key %d went from bucket %d to %d", n-1, i, before[i], b)
			}
			before[i] = b
			got[b]++
		}
		for b := range n {
			near(t, fmt.Sprintf("keys of bucket %d of %d", b, n), got[b], keys/float64(n))
		}
	}
}

// A key has the same bucket in every release.
func TestBucketsAreStable(t *testing.T) {
	var got []int
	for i := range 12 {
		got = append(got, Bucket(key(i), 8))
	}
	if want := []int{7, 3, 7, 4, 6, 0, 1, 7, 1, 6, 2, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, was %v", got, want)
	}
}

func BenchmarkBucket(b *testing.B) {
	for i := uint64(0); b.Loop(); i++ {
		Bucket(i, 1024)
	}
}
