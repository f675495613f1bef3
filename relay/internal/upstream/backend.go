package upstream

import (
	"slices"
	"sync/atomic"
	"time"

	"linesplit/target"
)

// Backend is a target with its connections and counts.
type Backend struct {
	Target            *target.Target
	BytesIn, BytesOut atomic.Uint64 // bytes to the target and from it

	limit int64  // maximum number of connections; 0 for no limit
	key   uint64 // hash of the name; see sourceHash

	total       atomic.Uint64 // connections made
	connectTime atomic.Int64  // duration of the last successful dial in nanoseconds

	// These change only while Group.mu is held.
	active     atomic.Int64
	weight     atomic.Int64 // at least 1
	draining   atomic.Bool  // gets no more clients
	quietSince atomic.Int64 // when draining began or, if later, the last connection ended; Unix nanoseconds

	// These change only while Backends.mu is held; see Backends.Remove.
	leaving  atomic.Bool // is removed once it has no connections
	expelled atomic.Bool // its connections must end now
	until    time.Time   // when they must end
	expiry   *time.Timer // calls expire at that time; nil unless leaving

	// Balancers keep these; guarded by Group.mu.
	current int64   // see roundRobin
	rate    float64 // see leastBandwidth
	counted uint64
	sampled time.Time
}

func newBackend(t *target.Target) *Backend {
	b := &Backend{Target: t, limit: int64(t.Address.MaxConnections), key: hashString(t.String())}
	b.weight.Store(int64(t.Address.Share()))
	return b
}

func (b *Backend) full() bool { return b.limit > 0 && b.active.Load() >= b.limit }

// Tried lists the backends that a client has tried in vain and is not given again for now.
type Tried []*Backend

// Add appends b.
func (s *Tried) Add(b *Backend) { *s = append(*s, b) }

func (s *Tried) has(b *Backend) bool { return s != nil && slices.Contains(*s, b) }

// Expelled reports whether the target is being removed and its connections have no time left.
func (b *Backend) Expelled() bool { return b.expelled.Load() }

// cancelRemovalLocked undoes what Remove has begun. Backends.mu is held.
func (b *Backend) cancelRemovalLocked() {
	b.leaving.Store(false)
	b.expelled.Store(false)
	if b.expiry != nil {
		b.expiry.Stop()
		b.expiry = nil
	}
}
