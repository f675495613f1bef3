package workerpool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"linesplit/target"
)

// ErrEnding is what changes of the targets are refused with from when [Pool.Run] has seen the end of its lines.
var ErrEnding = errors.New("the last lines are being delivered: targets do not change any more")

// roster is which targets there are. A Pool replaces it as a whole, so that workers look at it without a lock; a target that
// is drained in the meantime refuses those who come too late (place.join).
type roster struct {
	places []*place   // all, in the order of the configuration, added ones behind
	open   target.Set // those that take lines
}

func newRoster(places []*place) *roster {
	r := &roster{places: places}
	for _, p := range places {
		if p.takes() {
			r.open = append(r.open, p.target)
		}
	}
	return r
}

// placeOf returns nil for a target that is not, or no longer, listed.
func (r *roster) placeOf(t *target.Target) *place {
	for _, p := range r.places {
		if p.target == t {
			return p
		}
	}
	return nil
}

func (r *roster) named(name string) *place {
	for _, p := range r.places {
		if p.target.String() == name {
			return p
		}
	}
	return nil
}

// Add lists another target and, while Run runs, starts its workers. One that is being removed is resumed instead. The error
// wraps target.ErrExists where the target is there, draining or not, and ErrEnding from when Run has seen the end of its lines.
func (p *Pool) Add(a target.Address) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended.Load() {
		return fmt.Errorf("add target %s: %w", a, ErrEnding)
	}
	if !p.addLocked(a) {
		return fmt.Errorf("add target %s: %w", a, target.ErrExists)
	}
	return nil
}

// addLocked returns false if the target is there.
func (p *Pool) addLocked(a target.Address) bool {
	if there := p.roster.Load().named(a.String()); there != nil {
		if !there.removing {
			return false
		}
		p.resumeLocked(there)
		return true
	}
	place := p.newPlace(a)
	p.listLocked(append(slices.Clone(p.roster.Load().places), place))
	p.o.Logger.Info("target added", "target", place.target)
	p.staffLocked(place)
	return true
}

// Drain gives the target of that name nothing more: workers that belong to it finish what they write, half-close, wait until all
// is confirmed, and rest; workers that had moved to it move on. It returns at once; Stats tells how far that is.
//
// The rules for failed, silent and stalled connections hold as ever, and what they take back goes to other targets. So does a window
// that has shown no headway for the stall timeout and the resend age together, once another target confirms; if the one that hangs
// reads on after all, it has those lines too, which are counted as resent.
//
// The last target may be drained: then lines wait, and senders feel backpressure, also at the end of all lines. Draining twice is no
// error. The error wraps target.ErrUnknown, or ErrEnding from when Run has seen the end of its lines.
func (p *Pool) Drain(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, err := p.drainable(name)
	if err != nil {
		return fmt.Errorf("drain target %s: %w", name, err)
	}
	p.drainLocked(place)
	return nil
}

// Remove drains the target of that name and then lets go of it and its workers; what it has counted stays in Stats.Removed. It
// returns at once. Until it is gone the target is listed, and Resume or Add take it back. The error wraps target.ErrUnknown,
// target.ErrLast where no target would be left to take lines, or ErrEnding.
func (p *Pool) Remove(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, err := p.drainable(name)
	if err == nil && !p.canSpareLocked(name) {
		err = target.ErrLast
	}
	if err != nil {
		return fmt.Errorf("remove target %s: %w", name, err)
	}
	p.removeLocked(place)
	return nil
}

func (p *Pool) removeLocked(place *place) {
	place.removing = true
	p.drainLocked(place)
}

// Reconfigure is Tune, Add and Remove at once, or, if there is an error, nothing of it. What is there already is not added, and
// what is not there not removed; neither is an error. The error wraps target.ErrLast or ErrEnding.
func (p *Pool) Reconfigure(t Tuning, add []target.Address, remove []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(add)+len(remove) == 0:
	case p.ended.Load():
		return ErrEnding
	case !p.canSpareLocked(remove...) && !p.anyNewLocked(add):
		return fmt.Errorf("remove target %s: %w", strings.Join(remove, ", "), target.ErrLast)
	}
	p.tuneLocked(t)
	for _, a := range add {
		p.addLocked(a)
	}
	for _, name := range remove {
		if place := p.roster.Load().named(name); place != nil {
			p.removeLocked(place)
		}
	}
	return nil
}

// anyNewLocked says that one of the targets would take lines if it were added, and takes none now.
func (p *Pool) anyNewLocked(add []target.Address) bool {
	return slices.ContainsFunc(add, func(a target.Address) bool {
		there := p.roster.Load().named(a.String())
		return there == nil || there.removing
	})
}

// Resume undoes Drain and Remove, however far they have come. To resume a target that takes lines is no error. The error wraps
// target.ErrUnknown, also where Remove has come to its end.
func (p *Pool) Resume(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	place := p.roster.Load().named(name)
	if place == nil {
		return fmt.Errorf("resume target %s: %w", name, target.ErrUnknown)
	}
	p.resumeLocked(place) // also at the end: the last lines may be waiting for it
	return nil
}

func (p *Pool) drainable(name string) (*place, error) {
	if p.ended.Load() {
		return nil, ErrEnding
	}
	if place := p.roster.Load().named(name); place != nil {
		return place, nil
	}
	return nil, target.ErrUnknown
}

// canSpareLocked says that without these somebody would still take lines or, where nobody does, be left to be resumed.
func (p *Pool) canSpareLocked(names ...string) bool {
	var take, left, leftTake bool
	for _, place := range p.roster.Load().places {
		take = take || place.takes()
		if !place.removing && !slices.Contains(names, place.target.String()) {
			left = true
			leftTake = leftTake || place.takes()
		}
	}
	return left && (leftTake || !take)
}

func (p *Pool) drainLocked(place *place) {
	if place.takes() {
		place.taking.Store(false)
		place.drainingSince, place.drainedSince = time.Now(), time.Time{}
		p.o.Logger.Info("target draining", "target", place.target, "remove", place.removing)
		p.listLocked(p.roster.Load().places)
	}
	p.nudgeLocked(time.Now())
	p.settleLocked(time.Now())
}

func (p *Pool) resumeLocked(place *place) {
	place.removing = false
	if !place.takes() {
		place.taking.Store(true)
		p.o.Logger.Info("target resumed", "target", place.target)
		p.listLocked(p.roster.Load().places)
	}
	p.staffLocked(place)
	p.nudgeLocked(time.Now())
}

// listLocked publishes the places, and what follows from their number.
func (p *Pool) listLocked(places []*place) {
	p.roster.Store(newRoster(places))
	p.adjustLocked()
}

// settleLocked notes which targets have been drained, and lets go of those that are to be removed and have nothing and nobody left.
func (p *Pool) settleLocked(now time.Time) {
	for _, place := range p.roster.Load().places {
		if place.takes() || place.target.Connections() > 0 {
			continue
		}
		if place.drainedSince.IsZero() {
			place.drainedSince = now
			p.o.Logger.Info("target drained", "target", place.target, "took", now.Sub(place.drainingSince).Round(time.Millisecond))
		}
		if place.removing && place.workers == 0 {
			p.forgetLocked(place)
		}
	}
}

// forgetLocked needs that nobody counts at the place any more: a flight leaves it only when all it had is accounted for.
func (p *Pool) forgetLocked(gone *place) {
	p.removed.add(gone.counts())
	p.listLocked(slices.DeleteFunc(slices.Clone(p.roster.Load().places), func(p *place) bool { return p == gone }))
	p.o.Logger.Info("target removed", "target", gone.target)
}
