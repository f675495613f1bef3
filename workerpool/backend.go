package workerpool

import (
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

// backend is a target with its workers. Pool.mu guards its fields.
type backend struct {
	*delivery.Backend

	address       target.Address // with the weight in force
	wantWorkers   int            // workers that it should have
	keyWeight     float64        // its share of the keys, see KeyWeights
	workers       int            // workers that it has, those that are surplus included
	removing      bool
	drainingSince time.Time // start of the last drain
	drainedSince  time.Time // zero: not drained yet
}

func (b *backend) name() string { return b.Target.String() }

// statsLocked needs Pool.mu.
func (b *backend) statsLocked() TargetStats {
	status := b.Target.Status()
	s := TargetStats{
		Name:        b.name(),
		Up:          !b.Target.Unhealthy() && (b.Target.Connections() > 0 || !b.Target.Down()),
		State:       status.State,
		Since:       status.Since,
		Removing:    b.removing,
		Weight:      b.address.Share(),
		Backup:      b.address.Backup,
		Wanted:      b.wantWorkers,
		LastError:   status.LastError,
		LastErrorAt: status.LastErrorAt,
		Gauges:      b.Gauges(),
		Counters:    b.Counters(),
	}
	switch {
	case b.Accepts():
	case b.drainedSince.IsZero():
		s.State, s.Since = target.StateDraining, b.drainingSince
	default:
		s.State, s.Since = target.StateDrained, b.drainedSince
	}
	return s
}
