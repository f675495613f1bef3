package workerpool

import (
	"context"
	"time"

	"linesplit/internal/delivery"
	"linesplit/internal/lane"
	"linesplit/internal/linekey"
	"linesplit/linebuf"
)

// Keys say how lines belong together. Lines with the same key go to one target at a time, in order.
type Keys struct {
	Rule *linekey.Rule // says where the key of a line is; nil: lines have no keys
	// DropMissing drops lines without a key. Otherwise they go to any target.
	DropMissing bool
}

// With keys, each worker has a lane, which it takes its lines from instead of the channel, and a
// KeyedOutlet scatters lines to lanes in the goroutine that has read them.

// Keyed reports whether lines have keys, so that they have to go through a KeyedOutlet.
func (p *Pool) Keyed() bool { return p.routes != nil }

// KeyedOutlet hands the lines of one connection to the lanes of their keys. One goroutine at a time
// may use it. It takes the place of the channel, too: what has no room in its lane waits.
type KeyedOutlet struct {
	pool   *Pool
	source *lane.Source
}

// NewKeyedOutlet returns an outlet for one connection. It is for pools with Options.Keys.
func (p *Pool) NewKeyedOutlet() *KeyedOutlet {
	id := p.outlets.Add(1)
	if k := p.o.Keys; !k.Rule.PerConnection() {
		return &KeyedOutlet{p, p.routes.NewSource(k.Rule.Find, k.DropMissing, int(id&1023))}
	}
	return &KeyedOutlet{p, p.routes.NewWholeSource(linekey.HashNumber(uint64(id)))}
}

// NewReplayOutlet returns an outlet for lines of many connections that come back from a spool. An
// outlet of [KeyedGroups.NewOutlet] has set the Key of their buffers.
func (p *Pool) NewReplayOutlet() *KeyedOutlet {
	if p.o.Keys.Rule.PerConnection() {
		return &KeyedOutlet{p, p.routes.NewReplaySource()}
	}
	return p.NewKeyedOutlet()
}

// Offer hands over the lines of b, as far as their lanes have room. If that is all of them, it
// returns true, and b has another owner. Otherwise b is left with the others, in order, and belongs
// to the caller, who offers them again before any later lines. A view is handed over as a whole or
// not at all. Offer never waits. Workers may not know of the lines before the next Flush, which the
// caller calls before it waits for anything.
func (o *KeyedOutlet) Offer(b *linebuf.Buffer) bool { return o.source.Offer(b) }

// Flush wakes the workers that Offer has not woken.
func (o *KeyedOutlet) Flush() { o.source.Flush() }

// Room returns a channel that is closed when a lane that was full has room again. A caller takes it
// before the Offer that fails.
func (o *KeyedOutlet) Room() <-chan struct{} { return o.pool.routes.Room() }

// TakeDropped returns the number of lines that were dropped for lack of a key since the last call.
func (o *KeyedOutlet) TakeDropped() linebuf.Count { return o.source.TakeDropped() }

const (
	// laneBuffer is the memory in a lane, in bytes, that one of Options.Queue stands for.
	laneBuffer = 64 << 10
	// minLane is the least memory that a lane may take, in bytes: with very many workers all of
	// them may take more than a quarter of the memory.
	minLane = 16 << 10
)

// laneLimitLocked returns the most memory that one lane takes, in bytes: Options.Queue buffers, and
// no more than its part of a quarter of the memory. Windows take half at most.
func (p *Pool) laneLimitLocked() int64 {
	part := p.memory() / 4 / int64(max(1, p.wantedLocked()))
	return max(minLane, min(int64(p.o.Queue)*laneBuffer, part))
}

// newMachine returns the machine of a new worker, and gives the worker a lane if lines have keys.
func (p *Pool) newMachine(w *worker, id int) *delivery.Machine {
	if p.routes == nil {
		return delivery.New(p.shared, w, w.home.Backend, id)
	}
	w.lines = nil
	w.lane = p.routes.NewLane(w.laneFilled)
	return delivery.NewInOrder(p.shared, w, w.home.Backend, id, w.lane.Confirmed())
}

// assignLocked distributes the keys over the targets that take lines and are no backups, whose
// lanes move to a backup while no other target is up. If there is no such target, backups get the
// keys, and if none takes lines, they wait in the lanes of those that are not being removed.
func (p *Pool) assignLocked() {
	if p.routes == nil || p.assignLater {
		return
	}
	var accepting, staying, backups []lane.Home
	for _, b := range p.backends {
		// The name has no options: keys stay if others than the share change.
		h := lane.Home{Name: b.Target.Address.Key(), Weight: b.keyWeight}
		for _, w := range p.workers {
			if w.home == b && !w.surplus {
				h.Lanes = append(h.Lanes, w.lane)
			}
		}
		if len(h.Lanes) == 0 {
			continue
		}
		switch {
		case !b.Accepts():
		case b.address.Backup:
			backups = append(backups, h)
		default:
			accepting = append(accepting, h)
		}
		if !b.removing {
			staying = append(staying, h)
		}
	}
	switch {
	case len(accepting) > 0:
		p.routes.Assign(accepting)
	case len(backups) > 0:
		p.routes.Assign(backups)
	default:
		p.routes.Assign(staying)
	}
}

// leaveSurplusLanesLocked lets those workers end whose home has too many, once the keys of their
// lanes have moved to other lanes of it, behind their last lines.
func (p *Pool) leaveSurplusLanesLocked(now time.Time) {
	if p.routes == nil {
		return
	}
	for _, w := range p.workers {
		if w.surplus && p.routes.Unused(w.lane) {
			w.machine.SetWanted(false)
			w.nudge(now)
		}
	}
}

// awaitEnd waits until no more lines come, when they have keys. Lines that come over the channel
// are handed to lanes, too.
func (p *Pool) awaitEnd(hard context.Context, lines <-chan *linebuf.Buffer) {
	var outlet *KeyedOutlet
	for {
		select {
		case b, ok := <-lines:
			if !ok {
				p.endKeyed()
				return
			}
			if outlet == nil {
				outlet = p.NewKeyedOutlet()
			}
			for room := outlet.Room(); !outlet.Offer(b); room = outlet.Room() {
				select {
				case <-room:
				case <-hard.Done():
					p.unhanded.Store(b)
					return
				}
			}
			outlet.Flush()
		case <-hard.Done():
			return
		}
	}
}

// endKeyed lets the workers know that no more lines come.
func (p *Pool) endKeyed() {
	p.routes.End()
	p.ended.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nudgeLocked(time.Now())
}

// laneFilled is called when the worker's lane has got lines. A caller with few of them writes them
// at once if the worker has nothing else to do.
func (w *worker) laneFilled(now bool) {
	if !now || !w.tryTurn() {
		w.wake()
		return
	}
	w.pool.clock.stir()
	for n := 0; n < checkEvery && w.machine.Wants(); n++ {
		b := w.lane.Pop()
		if b == nil {
			break
		}
		w.give(b, burst{})
		c, p := w.machine.Writing()
		n, err := c.(Conn).TryWrite(p)
		w.machine.Wrote(n, err, time.Now())
	}
	w.endTurn()
}

// takesFromLane reports whether there is something in the lane that the worker can take: to write
// it or, while its target takes no lines, to let another one have it.
func (w *worker) takesFromLane() bool {
	return w.lane != nil && !w.lane.Empty() &&
		(w.machine.Wants() || w.machine.Paused() && w.pool.shared.Backends().AnyAccepts())
}

// takeFromLane takes one buffer from the lane if it can, and reports whether there was one.
func (w *worker) takeFromLane() bool {
	if !w.takesFromLane() {
		return false
	}
	b := w.lane.Pop()
	if b == nil {
		return false
	}
	w.take(b, true)
	return true
}

// pollLaneEnd checks whether the lane gets nothing more, and reports whether it has just found out.
func (w *worker) pollLaneEnd() bool {
	m := w.machine
	if w.over || !w.pool.ended.Load() || !m.Idle() && !m.Wants() || !w.pool.routes.Finished(w.lane) {
		return false
	}
	w.over = true
	m.EndInput(time.Now())
	return true
}

// LaneStats are the present values of the lanes of one target's workers.
type LaneStats struct {
	Queued linebuf.Count // lines that wait to be written
	// Full is the number of lanes that have no room for the lines of a sender, which they hold up,
	// and FullSince the time since when the first of them has none; zero if Full is 0.
	Full      int
	FullSince time.Time
}

// KeyStats are the present values of a pool whose lines have keys.
type KeyStats struct {
	Rule string // as linekey.Parse reads it
	// Moving is the share of all keys that are on their way to another target or worker, and
	// Waiting counts the lines that wait for that.
	Moving  float64
	Waiting linebuf.Count
}

func (p *Pool) laneStatsLocked(b *backend) (s LaneStats) {
	for _, w := range p.workers {
		if w.home != b || w.lane == nil {
			continue
		}
		l := w.lane.Stats()
		s.Queued.Add(l.Queued)
		if l.FullSince.IsZero() {
			continue
		}
		if s.Full++; s.FullSince.IsZero() || l.FullSince.Before(s.FullSince) {
			s.FullSince = l.FullSince
		}
	}
	return s
}

func (p *Pool) keyStats() *KeyStats {
	if p.routes == nil {
		return nil
	}
	s := KeyStats{Rule: p.o.Rule.String()}
	s.Moving, s.Waiting = p.routes.Moving()
	return &s
}
