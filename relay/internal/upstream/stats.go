package upstream

import (
	"time"

	"linesplit/target"
)

// TargetStats is what one target has had. Bytes are counted as they are handed on, while connections last.
type TargetStats struct {
	Name       string // the address
	Up         bool
	State      string    // one of target's: StateDraining or StateDrained after Drain or Remove, else what the target itself says
	Since      time.Time // when it began to be in that state
	Removing   bool      // it will go
	Weight     int
	Backup     bool
	Most       int    // connections that it may have; 0 for any number
	Active     int64  // connections now, those being dialled included
	Total      uint64 // connections made
	BytesIn    uint64 // to the target
	BytesOut   uint64 // from the target
	DialErrors uint64
	Latency    time.Duration // of the last connect that succeeded, TLS handshake included; 0: none has
	// LastError is what a dial or a check has failed with last, however it went after that; empty for never.
	LastError   string
	LastErrorAt time.Time
}

// RemovedStats are sums over targets that have been removed. Those of one that comes again begin anew.
type RemovedStats struct {
	Targets                              uint64 // how many
	Total, BytesIn, BytesOut, DialErrors uint64 // as in TargetStats
}

func (s *RemovedStats) add(b *Backend) {
	s.Targets++
	s.Total += b.total.Load()
	s.BytesIn += b.BytesIn.Load()
	s.BytesOut += b.BytesOut.Load()
	s.DialErrors += b.Target.DialErrors()
}

// Stats returns what each target has had, what those that are gone have had, and the balancer's name.
func (s *Backends) Stats() (all []TargetStats, removed RemovedStats, balance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		all = append(all, b.stats())
	}
	return all, s.removed, s.balance
}

// Addresses are those of the targets that stay, with the weights that they have now.
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
		Most:        int(b.most),
		Active:      b.active.Load(),
		Total:       b.total.Load(),
		BytesIn:     b.BytesIn.Load(),
		BytesOut:    b.BytesOut.Load(),
		DialErrors:  b.Target.DialErrors(),
		Latency:     time.Duration(b.connect.Load()),
		LastError:   own.LastError,
		LastErrorAt: own.LastErrorAt,
	}
	if b.draining.Load() {
		s.State, s.Since = target.StateDraining, time.Unix(0, b.quiet.Load())
		if s.Active == 0 {
			s.State = target.StateDrained
		}
	}
	return s
}
