package lane

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// at returns the lane of each of ten thousand keys.
func (b *bench) at() []*Lane {
	var all []*Lane
	for i := range 10_000 {
		slot := slotOf(xxhash.Sum64String(fmt.Sprint("key-", i)))
		all = append(all, b.routes.ways[b.routes.table[slot]].lane)
	}
	return all
}

// homeOf returns the index of a lane's home.
func (b *bench) homeOf(l *Lane) int {
	for i, h := range b.homes {
		if slices.Contains(h.Lanes, l) {
			return i
		}
	}
	return -1
}

// Keys were shared out by the number of lanes, which is the weight rounded: weights of 1, 2 and 5
// gave 2, 3 and 8 of 13 parts.
func TestKeysFollowWeights(t *testing.T) {
	b := newBench(t, 1<<20, 3, 1)
	weights := []float64{1, 2, 5}
	for i, lanes := range []int{2, 3, 8} {
		b.homes[i].Weight = weights[i]
		for len(b.homes[i].Lanes) < lanes {
			b.homes[i].Lanes = append(b.homes[i].Lanes, b.routes.NewLane(func(bool) {}))
		}
	}
	b.routes.Assign(b.homes)
	homes, lanes := map[int]float64{}, map[*Lane]float64{}
	for _, l := range b.at() {
		homes[b.homeOf(l)]++
		lanes[l]++
	}
	for i, h := range b.homes {
		want := 10_000 * weights[i] / 8
		if math.Abs(homes[i]-want) > 0.07*want {
			t.Errorf("the home of weight %v has %v of 10000 keys, want about %v", weights[i], homes[i], want)
		}
		for _, l := range h.Lanes {
			want := want / float64(len(h.Lanes))
			if math.Abs(lanes[l]-want) > 0.15*want {
				t.Errorf("a lane of the home of weight %v has %v keys, want about %v", weights[i], lanes[l], want)
			}
		}
	}
}

// A change of one weight moves keys to that home, or from it, and none between the others, nor
// between the lanes of others.
func TestWeightMovesOnlyItsKeys(t *testing.T) {
	b := newBench(t, 1<<20, 5, 4)
	before := b.at()
	b.homes[2].Weight = 2
	b.routes.Assign(b.homes)
	heavy := b.at()
	gained := 0.0
	for i := range before {
		if before[i] == heavy[i] {
			continue
		}
		gained++
		if b.homeOf(heavy[i]) != 2 || b.homeOf(before[i]) == 2 {
			t.Fatalf("key %d went from home %d to %d", i, b.homeOf(before[i]), b.homeOf(heavy[i]))
		}
	}
	if want := 10_000 * (2.0/6 - 1.0/5); math.Abs(gained-want) > 0.1*want {
		t.Errorf("%v keys have moved, want about %v", gained, want)
	}
	b.homes[2].Weight = 1
	b.routes.Assign(b.homes)
	for i, l := range b.at() {
		if l != before[i] {
			t.Fatalf("key %d has not gone back", i)
		}
	}
}

// One lane more in a home takes its share from each other lane there, and moves no key elsewhere.
// Before, a change of their number moved nearly all keys of the home.
func TestLaneTakesItsShareOnly(t *testing.T) {
	b := newBench(t, 1<<20, 2, 4)
	before := b.at()
	more := b.routes.NewLane(func(bool) {})
	b.homes[0].Lanes = append(b.homes[0].Lanes, more)
	b.routes.Assign(b.homes)
	after := b.at()
	own, moved := 0.0, 0.0
	for i := range before {
		if b.homeOf(before[i]) == 0 {
			own++
		}
		if before[i] == after[i] {
			continue
		}
		if moved++; after[i] != more {
			t.Fatalf("key %d went between lanes that there were before", i)
		}
	}
	if want := own / 5; math.Abs(moved-want) > 0.15*want {
		t.Errorf("%v of %v keys have moved, want a fifth", moved, own)
	}
	b.homes[0].Lanes = b.homes[0].Lanes[:4]
	b.routes.Assign(b.homes)
	if !b.routes.Unused(more) {
		t.Error("the lane that was taken away is in use")
	}
	for i, l := range b.at() {
		if l != before[i] {
			t.Fatalf("key %d has not gone back", i)
		}
	}
}
