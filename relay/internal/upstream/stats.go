package upstream

import (
	"time"

	"linesplit/target"
)

// TargetStats are the state and the counts of one target. Bytes are counted as they are written,
// not at the end of a connection.
type TargetStats struct {
	Name       string // the address
	Up         bool
	State      string    // StateDraining or StateDrained after Drain or Remove, else target.Status.State
	Since      time.Time // when that state began
	Removing   bool      // is removed once it has no connections
	Weight     int
	Backup     bool
	Most       int    // maximum number of connections; 0 for no limit
	Active     int64  // open connections, those being dialled included
	Total      uint64 // connections made
	BytesIn    uint64 // to the target
	BytesOut   uint64 // from the target
	DialErrors uint64
	Latency    time.Duration // of the last successful dial, TLS handshake included; 0 before the first
	// LastError is the error of the last dial or check that failed, even if later ones succeeded;
	// empty if none has failed.
	LastError   string
	LastErrorAt time.Time
}

// RemovedStats are sums over targets that have been removed. A target that is added again starts
// from zero.
type RemovedStats struct {
	Targets                              uint64 // number of removals
	Total, BytesIn, BytesOut, DialErrors uint64 // as in TargetStats
}

func (s *RemovedStats) add(b *Backend) {
	s.Targets++
	s.Total += b.total.Load()
	s.BytesIn += b.BytesIn.Load()
	s.BytesOut += b.BytesOut.Load()
	s.DialErrors += b.Target.DialErrors()
}

// Stats returns the stats of all targets in the order of the configuration, sums over those that
// were removed, and the name of the balancer.
func (s *Backends) Stats() (all []TargetStats, removed RemovedStats, balance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		all = append(all, b.stats())
	}
	return all, s.removed, s.balance
}

// Addresses returns the addresses of the targets that are not being removed, with the weights in
// force.
func (s *Backends) Addresses() (all []target.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		if a := b.Target.Address; !b.leaving.Load() {
			a.Weight = int(b.weight.Load())
			all = append(all, a)
		}
	}
	return all
}

func (b *Backend) stats() TargetStats {
	own := b.Target.Status()
	s := TargetStats{
		Name:        b.Target.String(),
		Up:          own.State != target.StateDown,
		State:       own.State,
		Since:       own.Since,
		Removing:    b.leaving.Load(),
		Weight:      int(b.weight.Load()),
		Backup:      b.Target.Address.Backup,
		Most:        int(b.limit),
		Active:      b.active.Load(),
		Total:       b.total.Load(),
		BytesIn:     b.BytesIn.Load(),
		BytesOut:    b.BytesOut.Load(),
		DialErrors:  b.Target.DialErrors(),
		Latency:     time.Duration(b.connectTime.Load()),
		LastError:   own.LastError,
		LastErrorAt: own.LastErrorAt,
	}
	if b.draining.Load() {
		s.State, s.Since = target.StateDraining, time.Unix(0, b.quietSince.Load())
		if s.Active == 0 {
			s.State = target.StateDrained
		}
	}
	return s
}
