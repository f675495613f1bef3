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
type backendList struct {
	all       []*backend // all, in the order of the configuration, added ones behind
	accepting target.Set // those that take lines
}

func newBackendList(backends []*backend) *backendList {
	l := &backendList{all: backends}
	for _, b := range backends {
		if b.accepts() {
			l.accepting = append(l.accepting, b.target)
		}
	}
	return l
}

// placeOf returns nil for a target that is not, or no longer, listed.
func (l *backendList) of(t *target.Target) *backend {
	for _, b := range l.all {
		if b.target == t {
			return b
		}
	}
	return nil
}

func (l *backendList) named(name string) *backend {
	for _, b := range l.all {
		if b.target.String() == name {
			return b
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
	if there := p.backends.Load().named(a.String()); there != nil {
		if !there.removing {
			return false
		}
		p.resumeLocked(there)
		return true
	}
	b := p.newBackend(a)
	p.setBackendsLocked(append(slices.Clone(p.backends.Load().all), b))
	p.o.Logger.Info("target added", "target", b.target)
	p.startWorkersLocked(b)
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
	b, err := p.findLocked(name)
	if err != nil {
		return fmt.Errorf("drain target %s: %w", name, err)
	}
	p.drainLocked(b)
	return nil
}

// Remove drains the target of that name and then lets go of it and its workers; what it has counted stays in Stats.Removed. It
// returns at once. Until it is gone the target is listed, and Resume or Add take it back. The error wraps target.ErrUnknown,
// target.ErrLast where no target would be left to take lines, or ErrEnding.
func (p *Pool) Remove(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.findLocked(name)
	if err == nil && !p.canSpareLocked(name) {
		err = target.ErrLast
	}
	if err != nil {
		return fmt.Errorf("remove target %s: %w", name, err)
	}
	p.removeLocked(b)
	return nil
}

func (p *Pool) removeLocked(b *backend) {
	b.removing = true
	p.drainLocked(b)
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
	case !p.canSpareLocked(remove...) && !p.anyWouldAcceptLocked(add):
		return fmt.Errorf("remove target %s: %w", strings.Join(remove, ", "), target.ErrLast)
	}
	p.tuneLocked(t)
	for _, a := range add {
		p.addLocked(a)
	}
	for _, name := range remove {
		if b := p.backends.Load().named(name); b != nil {
			p.removeLocked(b)
		}
	}
	return nil
}

// anyNewLocked says that one of the targets would take lines if it were added, and takes none now.
func (p *Pool) anyWouldAcceptLocked(add []target.Address) bool {
	return slices.ContainsFunc(add, func(a target.Address) bool {
		there := p.backends.Load().named(a.String())
		return there == nil || there.removing
	})
}

// Resume undoes Drain and Remove, however far they have come. To resume a target that takes lines is no error. The error wraps
// target.ErrUnknown, also where Remove has come to its end.
func (p *Pool) Resume(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backends.Load().named(name)
	if b == nil {
		return fmt.Errorf("resume target %s: %w", name, target.ErrUnknown)
	}
	p.resumeLocked(b) // also at the end: the last lines may be waiting for it
	return nil
}

func (p *Pool) findLocked(name string) (*backend, error) {
	if p.ended.Load() {
		return nil, ErrEnding
	}
	if b := p.backends.Load().named(name); b != nil {
		return b, nil
	}
	return nil, target.ErrUnknown
}

// canSpareLocked says that without these somebody would still take lines or, where nobody does, be left to be resumed.
func (p *Pool) canSpareLocked(names ...string) bool {
	var take, left, leftTake bool
	for _, b := range p.backends.Load().all {
		take = take || b.accepts()
		if !b.removing && !slices.Contains(names, b.target.String()) {
			left = true
			leftTake = leftTake || b.accepts()
		}
	}
	return left && (leftTake || !take)
}

func (p *Pool) drainLocked(b *backend) {
	if b.accepts() {
		b.accepting.Store(false)
		b.drainingSince, b.drainedSince = time.Now(), time.Time{}
		p.o.Logger.Info("target draining", "target", b.target, "remove", b.removing)
		p.setBackendsLocked(p.backends.Load().all)
	}
	p.nudgeLocked(time.Now())
	p.updateDrainedLocked(time.Now())
}

func (p *Pool) resumeLocked(b *backend) {
	b.removing = false
	if !b.accepts() {
		b.accepting.Store(true)
		p.o.Logger.Info("target resumed", "target", b.target)
		p.setBackendsLocked(p.backends.Load().all)
	}
	p.startWorkersLocked(b)
	p.nudgeLocked(time.Now())
}

// listLocked publishes the places, and what follows from their number.
func (p *Pool) setBackendsLocked(backends []*backend) {
	p.backends.Store(newBackendList(backends))
	p.updateSettingsLocked()
}

// settleLocked notes which targets have been drained, and lets go of those that are to be removed and have nothing and nobody left.
func (p *Pool) updateDrainedLocked(now time.Time) {
	for _, b := range p.backends.Load().all {
		if b.accepts() || b.target.Connections() > 0 {
			continue
		}
		if b.drainedSince.IsZero() {
			b.drainedSince = now
			p.o.Logger.Info("target drained", "target", b.target, "took", now.Sub(b.drainingSince).Round(time.Millisecond))
		}
		if b.removing && b.workers == 0 {
			p.dropBackendLocked(b)
		}
	}
}

// forgetLocked needs that nobody counts at the place any more: a flight leaves it only when all it had is accounted for.
func (p *Pool) dropBackendLocked(gone *backend) {
	p.removed.add(gone.counts())
	p.setBackendsLocked(slices.DeleteFunc(slices.Clone(p.backends.Load().all), func(b *backend) bool { return b == gone }))
	p.o.Logger.Info("target removed", "target", gone.target)
}
