package upstream

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"linesplit/target"
)

var errLeaving = errors.New("it is being removed and had other options: add it again when it is gone")

// maxWeight is the limit that applies to a target's address, too.
const maxWeight = 1_000_000

// Add adds a backend for t; see relay.Relay.Add.
func (s *Backends) Add(t *target.Target) error {
	if err := s.add(t); err != nil {
		return fmt.Errorf("add target %s: %w", t, err)
	}
	return nil
}

func (s *Backends) add(t *target.Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkAddLocked(t); err != nil {
		return err
	}
	s.addLocked(t)
	return nil
}

// checkAddLocked returns an error if t cannot be added. A target that is being removed can be
// resumed with another weight. Other changes would need a second backend of the same name, since
// the old one still has connections.
func (s *Backends) checkAddLocked(t *target.Target) error {
	b := s.findLocked(t.String())
	if b == nil {
		return nil
	}
	was, is := b.Target.Address, t.Address
	was.Weight, is.Weight = 0, 0
	switch {
	case !b.leaving.Load():
		return target.ErrExists
	case was != is:
		return errLeaving
	}
	return nil
}

// addLocked adds t, or resumes its backend if that is being removed. checkAddLocked has allowed it.
func (s *Backends) addLocked(t *target.Target) {
	if b := s.findLocked(t.String()); b != nil {
		s.groupOf(b).setWeight(b, int64(t.Address.Share()))
		s.resumeLocked(b)
		return
	}
	b := newBackend(t)
	s.log(b, "target added")
	s.appendLocked(b)
}

// appendLocked appends b to the list and to its group.
func (s *Backends) appendLocked(b *Backend) {
	s.all = append(s.all, b)
	s.groupOf(b).add(b)
}

// Drain gives the target no more clients; see relay.Relay.Drain.
func (s *Backends) Drain(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookupLocked(name)
	if err != nil {
		return fmt.Errorf("drain target %s: %w", name, err)
	}
	s.drainLocked(b)
	return nil
}

func (s *Backends) drainLocked(b *Backend) {
	if s.groupOf(b).drain(b) {
		s.log(b, "target draining")
	}
}

// Resume undoes Drain and Remove; see relay.Relay.Resume.
func (s *Backends) Resume(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookupLocked(name)
	if err != nil {
		return fmt.Errorf("resume target %s: %w", name, err)
	}
	s.resumeLocked(b)
	return nil
}

func (s *Backends) resumeLocked(b *Backend) {
	b.cancelRemovalLocked()
	if s.groupOf(b).resume(b) {
		s.log(b, "target resumed")
	}
}

// Remove drains the target and removes it once it has no connections; see relay.Relay.Remove.
func (s *Backends) Remove(name string, within time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookupLocked(name)
	if err != nil {
		return fmt.Errorf("remove target %s: %w", name, err)
	}
	if !s.canRemoveLocked(s.groupOf(b), nil, name) {
		return fmt.Errorf("remove target %s: %w", name, target.ErrLast)
	}
	s.removeLocked(b, within)
	return nil
}

func (s *Backends) removeLocked(b *Backend, within time.Duration) {
	s.drainLocked(b)
	b.cancelRemovalLocked()
	b.leaving.Store(true)
	if !s.removeIfIdleLocked(b) {
		b.until = time.Now().Add(within)
		b.expiry = time.AfterFunc(within, func() { s.expire(b) })
	}
}

// SetWeight changes the weight of the target; see relay.Relay.SetWeight.
func (s *Backends) SetWeight(name string, weight int) error {
	if weight < 1 || weight > maxWeight {
		return fmt.Errorf("weight %d of target %s: use a number from 1 to %d", weight, name, maxWeight)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookupLocked(name)
	if err != nil {
		return fmt.Errorf("set weight of target %s: %w", name, err)
	}
	s.groupOf(b).setWeight(b, int64(weight))
	return nil
}

// SetBalance changes the balancer of both groups. The error is that of ParseBalance.
func (s *Backends) SetBalance(name string) error {
	if _, err := ParseBalance(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setBalanceLocked(name)
	return nil
}

func (s *Backends) setBalanceLocked(name string) {
	s.balance = name
	s.Streams.setBalancer(newBalancer(name))
	s.Datagrams.setBalancer(newBalancer(name))
}

// Targets returns the targets that are not being removed, in the order of Stats.
func (s *Backends) Targets() (all []*target.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		if !b.leaving.Load() {
			all = append(all, b.Target)
		}
	}
	return all
}

func (s *Backends) lookupLocked(name string) (*Backend, error) {
	if b := s.findLocked(name); b != nil {
		return b, nil
	}
	return nil, target.ErrUnknown
}

func (s *Backends) findLocked(name string) *Backend {
	for _, b := range s.all {
		if b.Target.String() == name {
			return b
		}
	}
	return nil
}

// Release counts the end of a connection to b, which Acquire, Wait or TryAcquire has counted.
func (s *Backends) Release(b *Backend) {
	s.groupOf(b).release(b)
	if b.leaving.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removeIfIdleLocked(b)
	}
}

// removeIfIdleLocked takes b out of the list if it is being removed and has no connections. It
// reports whether it did.
func (s *Backends) removeIfIdleLocked(b *Backend) bool {
	if !b.leaving.Load() || !s.groupOf(b).remove(b) {
		return false
	}
	b.cancelRemovalLocked()
	s.all = without(s.all, b)
	s.removed.add(b)
	s.log(b, "target removed")
	return true
}

// expire ends the connections of b if it is being removed and its time is up. It holds no lock
// meanwhile, since the connections may be many.
func (s *Backends) expire(b *Backend) {
	if s.markExpelled(b) {
		s.expel(b)
	}
}

// markExpelled reports whether the connections of b must end, and marks b if so. The timer may have
// fired just before Resume, or another Remove, has changed that.
func (s *Backends) markExpelled(b *Backend) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.leaving.Load() || time.Now().Before(b.until) {
		return false
	}
	b.expelled.Store(true)
	return true
}

func without(backends []*Backend, b *Backend) []*Backend {
	return slices.DeleteFunc(slices.Clone(backends), func(q *Backend) bool { return q == b })
}

func (s *Backends) log(b *Backend, what string) {
	s.logger.Info(what, slog.String("target", b.Target.String()), slog.Int64("connections", b.active.Load()))
}
