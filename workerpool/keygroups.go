package workerpool

import (
	"sync/atomic"

	"linesplit/internal/lane"
	"linesplit/internal/linekey"
)

// Sharer divides buffers among pools; see lane.Sharer.
type Sharer = lane.Sharer

// KeyedGroups makes outlets that give each line to every one of several pools, each of which has
// lanes of its own for the keys. It is safe for concurrent use.
type KeyedGroups struct {
	keys    Keys
	groups  []lane.Group
	share   Sharer
	spooled bool
	outlets atomic.Uint32
}

// NewKeyedGroups returns a KeyedGroups for pools with the same Options.Keys, none of which runs
// yet. Senders wait for those that are required; the others get what share gives them. With
// spooled, lines may go to a spool and come back through [Pool.NewReplayOutlet].
func NewKeyedGroups(pools []*Pool, required []bool, share Sharer, spooled bool) *KeyedGroups {
	g := &KeyedGroups{keys: pools[0].o.Keys, share: share, spooled: spooled}
	for i, p := range pools {
		g.groups = append(g.groups, lane.Group{Routes: p.routes, Waits: required[i]})
	}
	lane.JoinRoom(g.groups)
	return g
}

// NewOutlet returns an outlet for one connection, which one goroutine at a time may use. It is what
// a KeyedOutlet is for one pool, but takes all lines of a buffer or none.
func (g *KeyedGroups) NewOutlet() *lane.Multi {
	id := g.outlets.Add(1)
	return lane.NewMulti(g.groups, g.share, g.spooled, func(r *lane.Routes) *lane.Source {
		if g.keys.Rule.PerConnection() {
			return r.NewWholeSource(linekey.HashNumber(uint64(id)))
		}
		return r.NewSource(g.keys.Rule.Find, g.keys.DropMissing, int(id&1023))
	})
}
