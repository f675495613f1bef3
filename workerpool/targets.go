package workerpool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"linesplit/internal/delivery"
	"linesplit/target"
)

// ErrEnding is the error of changes of targets after [Pool.Run] has seen the end of its lines.
var ErrEnding = errors.New("the last lines are being delivered: targets can no longer change")

var errLeaving = errors.New("it is being removed and had another ?backup: add it again when it is gone")

// Add lists another target and, while Run runs, starts its workers. A target that is being
// removed is resumed instead, with the new Weight and Connections. The error wraps target.ErrExists
// if the target is listed, draining or not, and ErrEnding after Run has seen the end of its lines.
// One that is being removed and is to be a backup, or no longer, has to be gone first.
func (p *Pool) Add(a target.Address) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended.Load() {
		return fmt.Errorf("add target %s: %w", a, ErrEnding)
	}
	if there := p.namedLocked(a.String()); there != nil && there.removing && there.address.Backup != a.Backup {
		return fmt.Errorf("add target %s: %w", a, errLeaving)
	}
	if !p.addLocked(a) {
		return fmt.Errorf("add target %s: %w", a, target.ErrExists)
	}
	return nil
}

// addLocked returns false if the target is listed already.
func (p *Pool) addLocked(a target.Address) bool {
	if there := p.namedLocked(a.String()); there != nil {
		if !there.removing {
			return false
		}
		there.address.Weight, there.address.Connections = a.Weight, a.Connections
		p.resumeLocked(there)
		return true
	}
	b := p.newBackend(a)
	p.setBackendsLocked(append(slices.Clone(p.backends), b))
	p.o.Logger.Info("target added", "target", b.Target)
	p.shareOutLocked()
	return true
}

// Drain gives the named target nothing more: its own workers finish their writes, half-close,
// wait until all is confirmed, and pause; workers that had failed over to it move on. Drain
// returns at once; Stats shows the progress.
//
// The rules for failed, silent and stalled connections still hold, and what they requeue goes
// to other targets. A window without progress for the stall timeout and the resend age together
// is also sent again, once another target confirms. If the target that hung reads on after all,
// it has those lines too; they are counted as resent.
//
// The last target may be drained: then lines wait and senders feel backpressure, also at the
// end of all lines. Draining twice is no error. The error wraps target.ErrUnknown, or ErrEnding
// after Run has seen the end of its lines.
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

// Remove drains the named target and then drops it and its workers; its counts stay in
// Stats.Removed. Remove returns at once. Until the target is dropped, it is listed, and Resume
// or Add take it back. The error wraps target.ErrUnknown, target.ErrLast if no target would be
// left to take lines, or ErrEnding.
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
	p.shareOutLocked() // keys move once, to the lanes that there are afterwards
}

// Change is a set of changes that are made together. Adding a target that is listed is no error,
// nor is removing or changing one that is not.
type Change struct {
	Tuning
	Add    []target.Address
	Remove []string
	Shares []target.Address // targets that get this Weight and these Connections
}

// CanReconfigure returns the error that Reconfigure would return now.
func (p *Pool) CanReconfigure(c Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.canReconfigureLocked(c)
}

func (p *Pool) canReconfigureLocked(c Change) error {
	switch {
	case len(c.Add)+len(c.Remove)+len(c.Shares) == 0:
	case p.ended.Load():
		return ErrEnding
	case !p.canSpareLocked(c.Remove...) && !p.anyWouldAcceptLocked(c.Add):
		return fmt.Errorf("remove target %s: %w", strings.Join(c.Remove, ", "), target.ErrLast)
	}
	return nil
}

// Reconfigure makes all changes of c or, with an error, none of them. The error wraps
// target.ErrLast or ErrEnding.
func (p *Pool) Reconfigure(c Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.canReconfigureLocked(c); err != nil {
		return err
	}
	p.assignLater = true
	p.tuneLocked(c.Tuning)
	for _, a := range c.Add {
		p.addLocked(a)
	}
	for _, name := range c.Remove {
		if b := p.namedLocked(name); b != nil {
			p.removeLocked(b)
		}
	}
	for _, a := range c.Shares {
		if b := p.namedLocked(a.String()); b != nil {
			b.address.Weight, b.address.Connections = a.Weight, a.Connections
		}
	}
	if len(c.Shares) > 0 {
		p.shareOutLocked()
	}
	p.assignLater = false
	p.assignLocked()
	return nil
}

// anyWouldAcceptLocked reports whether one of the targets is unlisted or being removed, so that
// adding it makes it take lines.
func (p *Pool) anyWouldAcceptLocked(add []target.Address) bool {
	return slices.ContainsFunc(add, func(a target.Address) bool {
		there := p.namedLocked(a.String())
		return there == nil || there.removing
	})
}

// Resume undoes Drain and Remove, however far they have come. Resuming a target that takes
// lines is no error. The error wraps target.ErrUnknown, also if Remove has finished.
func (p *Pool) Resume(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.namedLocked(name)
	if b == nil {
		return fmt.Errorf("resume target %s: %w", name, target.ErrUnknown)
	}
	p.resumeLocked(b) // also after the end of lines: the last ones may wait for it
	return nil
}

func (p *Pool) findLocked(name string) (*backend, error) {
	if p.ended.Load() {
		return nil, ErrEnding
	}
	if b := p.namedLocked(name); b != nil {
		return b, nil
	}
	return nil, target.ErrUnknown
}

// canSpareLocked reports whether, without the named targets, another one would still take lines
// or, if none does now, be left to be resumed.
func (p *Pool) canSpareLocked(names ...string) bool {
	var take, left, leftTake bool
	for _, b := range p.backends {
		take = take || b.Accepts()
		if !b.removing && !slices.Contains(names, b.Target.String()) {
			left = true
			leftTake = leftTake || b.Accepts()
		}
	}
	return left && (leftTake || !take)
}

func (p *Pool) drainLocked(b *backend) {
	if b.Accepts() {
		b.SetAccepting(false)
		b.drainingSince, b.drainedSince = time.Now(), time.Time{}
		p.o.Logger.Info("target draining", "target", b.Target, "remove", b.removing)
		p.setBackendsLocked(p.backends)
		if !p.shared.Backends().AnyAccepts() {
			p.o.Logger.Warn("no target takes lines any more: senders wait until one is resumed or added")
		}
	}
	if !b.removing {
		p.assignLocked()
	}
	p.nudgeLocked(time.Now())
	p.updateDrainedLocked(time.Now())
}

func (p *Pool) resumeLocked(b *backend) {
	wasRemoving := b.removing
	b.removing = false
	if !b.Accepts() {
		b.SetAccepting(true)
		p.o.Logger.Info("target resumed", "target", b.Target)
		p.setBackendsLocked(p.backends)
	}
	if wasRemoving {
		p.shareOutLocked()
	} else {
		p.startWorkersLocked(b) // some may have ended since
		p.assignLocked()
	}
	p.nudgeLocked(time.Now())
}

// setBackendsLocked publishes the backends and updates what depends on their number. It is called
// again after a change of which of them take lines.
func (p *Pool) setBackendsLocked(backends []*backend) {
	p.backends = backends
	all := make([]*delivery.Backend, len(backends))
	for i, b := range backends {
		all[i] = b.Backend
	}
	p.shared.SetBackends(delivery.NewBackends(all))
	p.updateSettingsLocked()
}

// namedLocked returns the backend of that name, nil if it is not, or no longer, listed.
func (p *Pool) namedLocked(name string) *backend {
	for _, b := range p.backends {
		if b.name() == name {
			return b
		}
	}
	return nil
}

// updateDrainedLocked notes which targets have been drained, and drops those that are being
// removed and have no connection and no worker left.
func (p *Pool) updateDrainedLocked(now time.Time) {
	for _, b := range p.backends {
		if b.Accepts() || b.Target.Connections() > 0 {
			continue
		}
		if b.drainedSince.IsZero() {
			b.drainedSince = now
			p.o.Logger.Info("target drained", "target", b.Target,
				"took", now.Sub(b.drainingSince).Round(time.Millisecond))
		}
		if b.removing && b.workers == 0 {
			p.dropBackendLocked(b)
		}
	}
}

// dropBackendLocked needs that no connection counts for the backend any more: a connection
// leaves it only when all of its lines are accounted for.
func (p *Pool) dropBackendLocked(gone *backend) {
	p.removed.Add(gone.Counters())
	left := slices.Clone(p.backends)
	p.setBackendsLocked(slices.DeleteFunc(left, func(b *backend) bool { return b == gone }))
	gone.FlushLog()
	p.o.Logger.Info("target removed", "target", gone.Target)
}
