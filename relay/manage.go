package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"linesplit/target"
)

var errLeaving = errors.New("it is about to be removed, and its options were others: add it again when it is gone")

// mostWeight is as in a target's address.
const mostWeight = 1_000_000

// service is one call of Serve or ServePackets, to those who have news for it. None of its methods waits for anything.
type service interface {
	// wake has it look again at the settings and the targets.
	wake()
	// expel ends the connections at p, which has been marked as expelled.
	expel(p *place)
	// connections returns some of its connections, at most so many.
	connections(most int) []Connection
}

// Add gives t its share of the connections from the next client on. It comes behind the others in Stats. The error wraps
// target.ErrExists if there is a target of that name. One that is about to be removed is resumed instead, with t's weight and all else
// as it was: t is not used then, and may differ in nothing else.
func (r *Relay) Add(t *target.Target) error {
	if err := r.add(t); err != nil {
		return fmt.Errorf("add target %s: %w", t, err)
	}
	r.wakeServices()
	return nil
}

func (r *Relay) add(t *target.Target) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.addableLocked(t); err != nil {
		return err
	}
	r.addLocked(t)
	return nil
}

// addableLocked says what speaks against adding t. What else than its weight a target that is about to go had otherwise would need
// another place, and the old one has connections.
func (r *Relay) addableLocked(t *target.Target) error {
	p := r.namedLocked(t.String())
	if p == nil {
		return nil
	}
	was, is := p.t.Address, t.Address
	was.Weight, is.Weight = 0, 0
	switch {
	case !p.leaving.Load():
		return target.ErrExists
	case was != is:
		return errLeaving
	}
	return nil
}

// addLocked is for a target that is addable.
func (r *Relay) addLocked(t *target.Target) {
	if p := r.namedLocked(t.String()); p != nil {
		r.groupOf(p).setWeight(p, int64(t.Address.Share()))
		r.resumeLocked(p)
		return
	}
	p := newPlace(t)
	r.log(p, "target added")
	r.placeInLocked(p)
}

// placeInLocked puts p behind those that are there.
func (r *Relay) placeInLocked(p *place) {
	r.places = append(r.places, p)
	r.groupOf(p).add(p)
}

// Drain gives the target no more clients. The connections that it has go on until they end by themselves; then it is drained, and stays
// so until Resume. The last target may be drained, too: clients are refused then. The error wraps target.ErrUnknown.
func (r *Relay) Drain(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.placeLocked(name)
	if err != nil {
		return fmt.Errorf("drain target %s: %w", name, err)
	}
	r.drainLocked(p)
	return nil
}

func (r *Relay) drainLocked(p *place) {
	if r.groupOf(p).drain(p) {
		r.log(p, "target draining")
	}
}

// Resume undoes Drain, and Remove where the target is not gone yet. The error wraps target.ErrUnknown.
func (r *Relay) Resume(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.placeLocked(name)
	if err != nil {
		return fmt.Errorf("resume target %s: %w", name, err)
	}
	r.resumeLocked(p)
	return nil
}

func (r *Relay) resumeLocked(p *place) {
	p.stay()
	if r.groupOf(p).resume(p) {
		r.log(p, "target resumed")
	}
}

// Remove drains the target, and takes it out of the list once it has no connections any more. Those that have not ended within the
// given time are reset, and counted in Stats.Expelled; clients that it is being dialled for get another. To call it again sets another
// time, from now. What the target has had is part of Stats.Removed from then on.
//
// The error wraps target.ErrUnknown; or target.ErrLast where of its kind, for streams or for datagrams, no target would be left, or none
// that takes clients though this one did.
func (r *Relay) Remove(name string, within time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.placeLocked(name)
	if err != nil {
		return fmt.Errorf("remove target %s: %w", name, err)
	}
	if !r.canSpareLocked(r.groupOf(p), nil, name) {
		return fmt.Errorf("remove target %s: %w", name, target.ErrLast)
	}
	r.removeLocked(p, within)
	return nil
}

func (r *Relay) removeLocked(p *place, within time.Duration) {
	r.drainLocked(p)
	p.stay()
	p.leaving.Store(true)
	if !r.retireLocked(p) {
		p.until = time.Now().Add(within)
		p.expiry = time.AfterFunc(within, func() { r.expel(p) })
	}
}

// Change is several changes at once. What is there already is not added, and what is not there neither removed nor weighted anew.
type Change struct {
	Tuning
	Balance string // "" leaves it as it is
	Add     []*target.Target
	Remove  []string
	Within  time.Duration  // as in Remove
	Weights map[string]int // by name, from 1 to 1,000,000
}

// Reconfigure makes all of a change or, if there is an error, nothing of it. The error wraps target.ErrLast, or is ParseBalance's, or
// that of Add for a target that is about to be removed.
func (r *Relay) Reconfigure(c Change) error {
	if err := r.reconfigure(c); err != nil {
		return err
	}
	r.wakeServices()
	return nil
}

func (r *Relay) reconfigure(c Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.judgeLocked(&c); err != nil {
		return err
	}
	r.tuneLocked(c.Tuning)
	if c.Balance != "" {
		r.setBalanceLocked(c.Balance)
	}
	for _, t := range c.Add {
		r.addLocked(t)
	}
	for _, name := range c.Remove {
		if p := r.namedLocked(name); p != nil {
			r.removeLocked(p, c.Within)
		}
	}
	for name, weight := range c.Weights {
		if p := r.namedLocked(name); p != nil {
			r.groupOf(p).setWeight(p, int64(weight))
		}
	}
	return nil
}

// judgeLocked says what speaks against a change, and takes out of it what is there already.
func (r *Relay) judgeLocked(c *Change) error {
	if c.Balance != "" {
		if _, err := ParseBalance(c.Balance); err != nil {
			return err
		}
	}
	var add []*target.Target
	for _, t := range c.Add {
		switch err := r.addableLocked(t); err {
		case nil:
			add = append(add, t)
		case target.ErrExists:
		default:
			return fmt.Errorf("add target %s: %w", t, err)
		}
	}
	c.Add = add
	for _, g := range []*group{r.streams, r.datagrams} {
		if !r.canSpareLocked(g, c.Add, c.Remove...) {
			return fmt.Errorf("remove target %s: %w", strings.Join(c.Remove, ", "), target.ErrLast)
		}
	}
	return nil
}

// SetWeight changes the target's share of the clients to come; weights are from 1 to 1,000,000. Connections stay where they are. The
// error wraps target.ErrUnknown, or says what would be right.
func (r *Relay) SetWeight(name string, weight int) error {
	if weight < 1 || weight > mostWeight {
		return fmt.Errorf("weight %d of target %s: use a number from 1 to %d", weight, name, mostWeight)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.placeLocked(name)
	if err != nil {
		return fmt.Errorf("set weight of target %s: %w", name, err)
	}
	r.groupOf(p).setWeight(p, int64(weight))
	return nil
}

// SetBalance changes how targets are chosen, from the next client on. The error is ParseBalance's.
func (r *Relay) SetBalance(name string) error {
	if _, err := ParseBalance(name); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setBalanceLocked(name)
	return nil
}

func (r *Relay) setBalanceLocked(name string) {
	r.balance = name
	r.streams.setBalancer(newBalancer(name))
	r.datagrams.setBalancer(newBalancer(name))
}

// Targets returns the targets that are there to stay, in the order of Stats.
func (r *Relay) Targets() (all []*target.Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.places {
		if !p.leaving.Load() {
			all = append(all, p.t)
		}
	}
	return all
}

func (r *Relay) placeLocked(name string) (*place, error) {
	if p := r.namedLocked(name); p != nil {
		return p, nil
	}
	return nil, target.ErrUnknown
}

func (r *Relay) namedLocked(name string) *place {
	for _, p := range r.places {
		if p.t.String() == name {
			return p
		}
	}
	return nil
}

// canSpareLocked says that of a kind some target stays, and takes clients if one does now, when some are added and others go. A kind
// that has no targets needs none.
func (r *Relay) canSpareLocked(g *group, come []*target.Target, gone ...string) bool {
	var take, left, leftTake bool
	for _, p := range g.all() {
		take = take || !p.draining.Load()
		if !p.leaving.Load() && !slices.Contains(gone, p.t.String()) {
			left = true
			leftTake = leftTake || !p.draining.Load()
		}
	}
	for _, t := range come {
		if r.groupFor(t) == g {
			left, leftTake = true, true
		}
	}
	return len(g.all()) == 0 || left && (leftTake || !take)
}

// release gives back a place that was acquired for one connection.
func (r *Relay) release(p *place) {
	r.groupOf(p).release(p)
	if p.leaving.Load() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.retireLocked(p)
	}
}

// retireLocked takes p out of the list if that is what it waits for. It returns false if it is not.
func (r *Relay) retireLocked(p *place) bool {
	if !p.leaving.Load() || !r.groupOf(p).remove(p) {
		return false
	}
	p.stay()
	r.places = without(r.places, p)
	r.removed.add(p)
	r.log(p, "target removed")
	return true
}

// expel resets the connections of a target that is to be removed; without the lock, for they may be many.
func (r *Relay) expel(p *place) {
	r.mu.Lock()
	stays := !p.leaving.Load() || time.Now().Before(p.until) // by now
	if !stays {
		p.expelled.Store(true)
	}
	services := r.servicesLocked()
	r.mu.Unlock()
	if stays {
		return
	}
	for _, v := range services {
		v.expel(p)
	}
}

// stay undoes what Remove has begun. Relay.mu is held.
func (p *place) stay() {
	p.leaving.Store(false)
	p.expelled.Store(false)
	if p.expiry != nil {
		p.expiry.Stop()
		p.expiry = nil
	}
}

func without(places []*place, p *place) []*place {
	return slices.DeleteFunc(slices.Clone(places), func(q *place) bool { return q == p })
}

func (r *Relay) log(p *place, what string) {
	r.o.Logger.Info(what, slog.String("target", p.t.String()), slog.Int64("connections", p.active.Load()))
}

// enter makes v known to those who have news.
func (r *Relay) enter(v service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = append(r.services, v)
}

// leave is enter's end. It also gives back what is kept for the next connection, once there will be none.
func (r *Relay) leave(v service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = slices.DeleteFunc(r.services, func(w service) bool { return w == v })
	if len(r.services) == 0 {
		r.carrier.Trim(true)
	}
}

func (r *Relay) servicesLocked() []service { return slices.Clone(r.services) }

// allServices returns those that are to be told something, without the lock.
func (r *Relay) allServices() []service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.servicesLocked()
}

func (r *Relay) wakeServices() {
	for _, v := range r.allServices() {
		v.wake()
	}
}
