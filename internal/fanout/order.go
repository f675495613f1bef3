package fanout

import (
	"sync"
	"sync/atomic"

	"linesplit/linebuf"
)

// order keeps lines with keys from overtaking those that wait in the spool. After one buffer has
// gone there, all others follow it, until the replays have given everything in the spool to lanes.
type order struct {
	spilling atomic.Int64 // buffers on their way to the spool

	mu     sync.RWMutex // nothing waits while it is held
	open   atomic.Bool  // lines may go to lanes; set with mu locked, reset with it locked for reading
	handed [Max]uint64  // guarded by mu: reads whose lines the replay of each group has handed over
}

// caughtUp notes that a group's replay has handed over all that it has read, and lets lines go to
// lanes if no other group is behind either.
func (o *order) caughtUp(f *Fanout, group int, reads uint64) {
	if f.kept.NewReplay == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handed[group] = reads
	o.openLocked(f)
}

// openLocked lets lines go to lanes if nothing is in the spool or on its way to or from it.
func (o *order) openLocked(f *Fanout) {
	if o.open.Load() || o.spilling.Load() > 0 {
		return
	}
	for i, g := range f.groups {
		if behind, reads := f.kept.Spool.Behind(i); g.Required && (behind || reads != o.handed[i]) {
			return
		}
	}
	o.open.Store(true)
	f.kept.announceRoom()
}

// Lanes gives the lines of one connection to lanes of all groups; see lane.Multi.
type Lanes interface {
	Prepare(b *linebuf.Buffer)
	Offer(b *linebuf.Buffer) bool
	Flush()
	TakeDropped() linebuf.Count
}

// KeptLanes gives the lines of one connection to lanes, or to the spool. One goroutine at a time
// uses it.
type KeptLanes struct {
	fanout *Fanout
	lanes  Lanes
}

// NewKeptLanes returns an outlet for one connection whose lines have keys. All groups are required
// ones.
func (f *Fanout) NewKeptLanes(lanes Lanes) *KeptLanes { return &KeptLanes{f, lanes} }

// Offer gives b to the lanes or to the spool, and returns true. It returns false, and b belongs to
// the caller, while both refuse it. While lines may go to lanes, no line of this sender waits in
// the spool.
func (o *KeptLanes) Offer(b *linebuf.Buffer) bool {
	if o.fanout.kept.order.open.Load() && o.lanes.Offer(b) {
		return true
	}
	o.lanes.Prepare(b)
	if len(b.B) == 0 {
		o.fanout.buffers.Put(b)
		return true
	}
	if o.fanout.spill(b) {
		return true
	}
	if !o.fanout.kept.ending.Load() {
		return false
	}
	o.fanout.give(b, nil)
	return true
}

// spill notes that a buffer is on its way to the spool.
func (o *order) spill() {
	o.mu.RLock()
	defer o.mu.RUnlock()
	o.open.Store(false)
	o.spilling.Add(1)
}

// spilled notes that it is there.
func (o *order) spilled(f *Fanout) {
	if o.spilling.Add(-1) > 0 {
		return
	}
	if behind, _ := f.kept.Spool.Behind(0); !behind {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.openLocked(f)
	}
}

// spill gives b to the spool, for all groups. If the spool refuses it, nothing has changed: senders
// may still give their lines to lanes.
func (f *Fanout) spill(b *linebuf.Buffer) bool {
	k := f.kept
	receipt, err := k.Spool.Reserve(b, k.required, k.required)
	if err != nil {
		signal(k.refused)
		return false
	}
	f.countSpilled(b.Count(), k.required)
	k.order.spill()
	defer k.order.spilled(f)
	k.Spool.Write(receipt, b)
	return true
}

// postpone lets a view of one group, whose lines are in the spool, wait there.
func (f *Fanout) postpone(group int, view *linebuf.Buffer) {
	order := &f.kept.order
	order.spill()
	defer order.spilled(f)
	f.groups[group].spilled.Add(view.Count())
	view.Return(f.kept.Spool.Postpone)
	f.buffers.Put(view)
}

// Flush wakes workers that Offer has not woken.
func (o *KeptLanes) Flush() { o.lanes.Flush() }

// Room is as that of KeptOutlet.
func (o *KeptLanes) Room() <-chan struct{} { return o.fanout.kept.awaitRoom() }

// TakeDropped returns the number of lines that were dropped for lack of a key since the last call.
func (o *KeptLanes) TakeDropped() linebuf.Count { return o.lanes.TakeDropped() }
