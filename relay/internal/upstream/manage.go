package upstream

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

var errLeaving = errors.New("it is about to be removed, and its options were others: add it again when it is gone")

// mostWeight is as in a target's address.
const mostWeight = 1_000_000

// Add gives t its share of the connections from the next client on. It comes behind the others in Stats. The error wraps
// target.ErrExists if there is a target of that name. One that is about to be removed is resumed instead, with t's weight and all else
// as it was: t is not used then, and may differ in nothing else.
func (s *Backends) Add(t *target.Target) error {
	if err := s.add(t); err != nil {
		return fmt.Errorf("add target %s: %w", t, err)
	}
	return nil
}

func (s *Backends) add(t *target.Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.addableLocked(t); err != nil {
		return err
	}
	s.addLocked(t)
	return nil
}

// addableLocked says what speaks against adding t. What else than its weight a target that is about to go had otherwise would need
// another place, and the old one has connections.
func (s *Backends) addableLocked(t *target.Target) error {
	b := s.namedLocked(t.String())
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

// addLocked is for a target that is addable.
func (s *Backends) addLocked(t *target.Target) {
	if b := s.namedLocked(t.String()); b != nil {
		s.groupOf(b).setWeight(b, int64(t.Address.Share()))
		s.resumeLocked(b)
		return
	}
	b := newBackend(t)
	s.log(b, "target added")
	s.appendLocked(b)
}

// appendLocked puts b behind those that are there.
func (s *Backends) appendLocked(b *Backend) {
	s.all = append(s.all, b)
	s.groupOf(b).add(b)
}

// Drain gives the target no more clients. The connections that it has go on until they end by themselves; then it is drained, and stays
// so until Resume. The last target may be drained, too: clients are refused then. The error wraps target.ErrUnknown.
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

// Resume undoes Drain, and Remove where the target is not gone yet. The error wraps target.ErrUnknown.
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
	b.stay()
	if s.groupOf(b).resume(b) {
		s.log(b, "target resumed")
	}
}

// Remove drains the target, and takes it out of the list once it has no connections any more. Those that have not ended within the
// given time are reset, and counted in Stats.Expelled; clients that it is being dialled for get another. To call it again sets another
// time, from now. What the target has had is part of Stats.Removed from then on.
//
// The error wraps target.ErrUnknown; or target.ErrLast where of its kind, for streams or for datagrams, no target would be left, or none
// that takes clients though this one did.
func (s *Backends) Remove(name string, within time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookupLocked(name)
	if err != nil {
		return fmt.Errorf("remove target %s: %w", name, err)
	}
	if !s.canSpareLocked(s.groupOf(b), nil, name) {
		return fmt.Errorf("remove target %s: %w", name, target.ErrLast)
	}
	s.removeLocked(b, within)
	return nil
}

func (s *Backends) removeLocked(b *Backend, within time.Duration) {
	s.drainLocked(b)
	b.stay()
	b.leaving.Store(true)
	if !s.retireLocked(b) {
		b.until = time.Now().Add(within)
		b.expiry = time.AfterFunc(within, func() { s.expire(b) })
	}
}

// Change is several changes at once. What is there already is not added, and what is not there neither removed nor weighted anew.
type Change struct {
	traffic.Tuning
	Balance string // "" leaves it as it is
	Add     []*target.Target
	Remove  []string
	Within  time.Duration  // as in Remove
	Weights map[string]int // by name, from 1 to 1,000,000
}

// Reconfigure makes all of a change or, if there is an error, nothing of it. The error wraps target.ErrLast, or is ParseBalance's, or
// that of Add for a target that is about to be removed.
func (s *Backends) Reconfigure(c Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.judgeLocked(&c); err != nil {
		return err
	}
	s.settings.Store(c.Tuning)
	if c.Balance != "" {
		s.setBalanceLocked(c.Balance)
	}
	for _, t := range c.Add {
		s.addLocked(t)
	}
	for _, name := range c.Remove {
		if b := s.namedLocked(name); b != nil {
			s.removeLocked(b, c.Within)
		}
	}
	for name, weight := range c.Weights {
		if b := s.namedLocked(name); b != nil {
			s.groupOf(b).setWeight(b, int64(weight))
		}
	}
	return nil
}

// judgeLocked says what speaks against a change, and takes out of it what is there already.
func (s *Backends) judgeLocked(c *Change) error {
	if c.Balance != "" {
		if _, err := ParseBalance(c.Balance); err != nil {
			return err
		}
	}
	var add []*target.Target
	for _, t := range c.Add {
		switch err := s.addableLocked(t); err {
		case nil:
			add = append(add, t)
		case target.ErrExists:
		default:
			return fmt.Errorf("add target %s: %w", t, err)
		}
	}
	c.Add = add
	for _, g := range []*Group{s.Streams, s.Datagrams} {
		if !s.canSpareLocked(g, c.Add, c.Remove...) {
			return fmt.Errorf("remove target %s: %w", strings.Join(c.Remove, ", "), target.ErrLast)
		}
	}
	return nil
}

// SetWeight changes the target's share of the clients to come; weights are from 1 to 1,000,000. Connections stay where they are. The
// error wraps target.ErrUnknown, or says what would be right.
func (s *Backends) SetWeight(name string, weight int) error {
	if weight < 1 || weight > mostWeight {
		return fmt.Errorf("weight %d of target %s: use a number from 1 to %d", weight, name, mostWeight)
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

// SetBalance changes how targets are chosen, from the next client on. The error is ParseBalance's.
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

// Targets returns the targets that are there to stay, in the order of Stats.
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
	if b := s.namedLocked(name); b != nil {
		return b, nil
	}
	return nil, target.ErrUnknown
}

func (s *Backends) namedLocked(name string) *Backend {
	for _, b := range s.all {
		if b.Target.String() == name {
			return b
		}
	}
	return nil
}

// canSpareLocked says that of a kind some target stays, and takes clients if one does now, when some are added and others go. A kind
// that has no targets needs none.
func (s *Backends) canSpareLocked(g *Group, come []*target.Target, gone ...string) bool {
	var take, left, leftTake bool
	for _, b := range g.All() {
		take = take || !b.draining.Load()
		if !b.leaving.Load() && !slices.Contains(gone, b.Target.String()) {
			left = true
			leftTake = leftTake || !b.draining.Load()
		}
	}
	for _, t := range come {
		if s.groupFor(t) == g {
			left, leftTake = true, true
		}
	}
	return len(g.All()) == 0 || left && (leftTake || !take)
}

// Release gives back a place that was acquired for one connection.
func (s *Backends) Release(b *Backend) {
	s.groupOf(b).release(b)
	if b.leaving.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.retireLocked(b)
	}
}

// retireLocked takes b out of the list if that is what it waits for. It returns false if it is not.
func (s *Backends) retireLocked(b *Backend) bool {
	if !b.leaving.Load() || !s.groupOf(b).remove(b) {
		return false
	}
	b.stay()
	s.all = without(s.all, b)
	s.removed.add(b)
	s.log(b, "target removed")
	return true
}

// expire has the connections of a target end that is to be removed; without the lock, for they may be many.
func (s *Backends) expire(b *Backend) {
	if s.markExpelled(b) {
		s.expel(b)
	}
}

func (s *Backends) markExpelled(b *Backend) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.leaving.Load() || time.Now().Before(b.until) { // by now
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
