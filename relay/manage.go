package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"linesplit/target"
)

// Errors that changes of the targets wrap.
var (
	ErrUnknown = errors.New("there is no such target")
	ErrExists  = errors.New("there is such a target already")
	ErrLast    = errors.New("it is the last one that takes connections")
)

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

// Add gives t its share of the connections from the next client on. It comes behind the others in Stats. The error wraps ErrExists if
// there is a target of that name. One that is about to be removed stays if Resume is called.
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
	if _, err := r.placeLocked(t.String()); err == nil {
		return ErrExists
	}
	p := newPlace(t)
	r.log(p, "target added")
	r.placeInLocked(p)
	return nil
}

// placeInLocked puts p behind those that are there.
func (r *Relay) placeInLocked(p *place) {
	r.places = append(r.places, p)
	r.groupOf(p).add(p)
}

// Drain gives the target no more clients. The connections that it has go on until they end by themselves; then it is drained, and stays
// so until Resume. The last target may be drained, too: clients are refused then. The error wraps ErrUnknown.
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
		r.log(p, "target drains")
	}
}

// Resume undoes Drain, and Remove where the target is not gone yet. The error wraps ErrUnknown.
func (r *Relay) Resume(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.placeLocked(name)
	if err != nil {
		return fmt.Errorf("resume target %s: %w", name, err)
	}
	p.stay()
	if r.groupOf(p).resume(p) {
		r.log(p, "target resumed")
	}
	return nil
}

// Remove drains the target, and takes it out of the list once it has no connections any more. Those that have not ended within the
// given time are reset, and counted in Stats.Expelled; clients that it is being dialled for get another. To call it again sets another
// time, from now. What the target has had is part of Stats.Removed from then on.
//
// The error wraps ErrUnknown; or ErrLast where of its kind, for streams or for datagrams, no target would be left, or none that
// takes clients though this one did.
func (r *Relay) Remove(name string, within time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.placeLocked(name)
	if err != nil {
		return fmt.Errorf("remove target %s: %w", name, err)
	}
	if r.lastLocked(p) {
		return fmt.Errorf("remove target %s: %w", name, ErrLast)
	}
	r.drainLocked(p)
	p.stay()
	p.leaving.Store(true)
	if !r.retireLocked(p) {
		p.until = time.Now().Add(within)
		p.expiry = time.AfterFunc(within, func() { r.expel(p) })
	}
	return nil
}

// SetWeight changes the target's share of the clients to come; weights are from 1 to 1,000,000. Connections stay where they are. The
// error wraps ErrUnknown, or says what would be right.
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
	r.balance = name
	r.streams.setBalancer(newBalancer(name))
	r.datagrams.setBalancer(newBalancer(name))
	return nil
}

func (r *Relay) placeLocked(name string) (*place, error) {
	for _, p := range r.places {
		if p.t.String() == name {
			return p, nil
		}
	}
	return nil, ErrUnknown
}

// lastLocked says whether p cannot be spared: another has to stay, and to take clients if p does.
func (r *Relay) lastLocked(p *place) bool {
	for _, q := range r.groupOf(p).all() {
		if q != p && !q.leaving.Load() && (!q.draining.Load() || p.draining.Load()) {
			return false
		}
	}
	return true
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
		r.carrier.trim(true)
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
