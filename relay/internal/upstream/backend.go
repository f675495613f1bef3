package upstream

import (
	"slices"
	"sync/atomic"
	"time"

	"linesplit/target"
)

// Backend is a target with what goes on there.
type Backend struct {
	Target            *target.Target
	BytesIn, BytesOut atomic.Uint64 // to the target, and from it

	most int64 // connections; 0 for any number
	key  uint64

	total   atomic.Uint64
	connect atomic.Int64 // nanoseconds that the last connect took

	// Anybody may look at these; they change under Group.mu only.
	active   atomic.Int64
	weight   atomic.Int64 // at least 1
	draining atomic.Bool  // gets no more clients
	quiet    atomic.Int64 // since when it drains or, without connections, is drained; Unix nanoseconds

	// These change under Backends.mu only; see Backends.Remove.
	leaving  atomic.Bool // goes once it has no connections
	expelled atomic.Bool // its connections are to end now
	until    time.Time   // when they are to
	expiry   *time.Timer // calls expire then; nil if that is not to be

	// What balancers keep, under Group.mu.
	current int64   // see roundRobin
	rate    float64 // see leastBandwidth
	counted uint64
	sampled time.Time
}

func newBackend(t *target.Target) *Backend {
	b := &Backend{Target: t, most: int64(t.Address.MaxConnections), key: hashString(t.String())}
	b.weight.Store(int64(t.Address.Share()))
	return b
}

func (b *Backend) full() bool { return b.most > 0 && b.active.Load() >= b.most }

// Tried are the backends that a client need not try again for now.
type Tried []*Backend

// Add adds b.
func (s *Tried) Add(b *Backend) { *s = append(*s, b) }

func (s *Tried) has(b *Backend) bool { return s != nil && slices.Contains(*s, b) }

// Expelled says whether the connections of a target that is to be removed are to end now.
func (b *Backend) Expelled() bool { return b.expelled.Load() }

// stay undoes what Remove has begun. Backends.mu is held.
func (b *Backend) stay() {
	b.leaving.Store(false)
	b.expelled.Store(false)
	if b.expiry != nil {
		b.expiry.Stop()
		b.expiry = nil
	}
}
