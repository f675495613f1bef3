package fanout

import (
	"context"
	"log/slog"
	"sync/atomic"

	"linesplit/linebuf"
)

// With a spool, a required group that has no room for lines does not hold up their senders: the
// lines go to the spool, and come back from there when the group has room again. While the spool
// does not take them either, senders wait until one of both has room.
//
//	         ┌─▶ workers of the group, if they have room
//	Outlet ──┤
//	         └─▶ spool ─▶ replay ─▶ workers of the group
//
// Best-effort groups have a budget of memory, and do not use the spool.

// Spool keeps lines on disk; see spool.Spool. It is safe for concurrent use.
type Spool interface {
	// Append is Reserve followed by Write. The spool owns b unless there is an error.
	Append(b *linebuf.Buffer, groups, waiting linebuf.Groups) (*linebuf.Receipt, error)
	// Reserve reserves room for the lines of b, which groups have yet to confirm. Next returns them
	// to the groups in waiting; the workers of the others get them in buffers that hold the
	// receipt.
	Reserve(b *linebuf.Buffer, groups, waiting linebuf.Groups) (*linebuf.Receipt, error)
	// Write writes the lines of b, for which the receipt was reserved, or of a view of it. The
	// spool owns b from then on.
	Write(r *linebuf.Receipt, b *linebuf.Buffer)
	// Next waits for lines that wait for a group, and returns the oldest of them. The caller owns
	// the buffer.
	Next(ctx context.Context, group int) (*linebuf.Buffer, error)
	// Postpone makes Next return lines whose receipt workers had.
	Postpone(r *linebuf.Receipt, groups linebuf.Groups)
	// Behind reports whether lines wait for a group, and how often Next has begun to read some.
	Behind(group int) (behind bool, reads uint64)
	// Room returns a channel that is closed when Append or Reserve may succeed.
	Room() <-chan struct{}
}

// Kept says how a fan-out uses a spool.
type Kept struct {
	Spool Spool
	// Always writes all lines to the spool before workers get them. Otherwise the spool gets the
	// lines for which a group has no room.
	Always bool
	// NewReplay returns an outlet to the lanes of a group, for lines with keys: then no line
	// overtakes one of the same sender that waits in the spool. nil: lines have no keys.
	NewReplay func(group int) ReplayOutlet
}

// ReplayOutlet takes lines with keys that come from the spool; see workerpool.KeyedOutlet.
type ReplayOutlet interface {
	Offer(b *linebuf.Buffer) bool
	Flush()
	Room() <-chan struct{}
	TakeDropped() linebuf.Count
}

// kept is what a fan-out with a spool has besides its groups.
type kept struct {
	Kept
	unsynced linebuf.Account    // of the buffers that the spool holds until they are synced
	sharers  []*linebuf.Account // of all groups, and that of the spool last
	required linebuf.Groups     // the groups that use the spool
	order    order              // for lines with keys

	room    atomic.Pointer[chan struct{}] // closed when refused lines may be taken
	awaited atomic.Bool                   // a sender may wait for room
	refused chan struct{}                 // holds one value: the spool has refused lines

	overflow atomic.Bool // see EndAlways
	ending   atomic.Bool // no worker takes anything more

	lost linebuf.AtomicCount // by Keep
}

// NewKept is New for a fan-out that uses a spool.
func NewKept(buffers *linebuf.Pool, groups []Options, spool Kept, logger *slog.Logger) *Fanout {
	f := New(buffers, groups, logger)
	k := &kept{Kept: spool, refused: make(chan struct{}, 1)}
	k.room.Store(new(make(chan struct{})))
	k.sharers = append(k.sharers, f.accounts...)
	k.sharers = append(k.sharers, &k.unsynced)
	for i, g := range f.groups {
		if g.Required {
			k.required |= 1 << i
			g.emptied = k.announceRoom
			g.fresh, g.replayed = make(chan *linebuf.Buffer, max(1, g.Queue/2)), make(chan *linebuf.Buffer)
		}
	}
	f.kept = k
	return f
}

// Lost counts the unconfirmed lines that Keep could not write to the spool.
func (f *Fanout) Lost() linebuf.Count { return f.kept.lost.Load() }

// NewKeptOutlet returns an outlet for one connection that takes the place of the channel. outlets
// are those of the groups, in their order.
func (f *Fanout) NewKeptOutlet(outlets []Outlet) *KeptOutlet { return &KeptOutlet{f, outlets} }

// KeptOutlet gives the buffers of one connection to all groups, or to the spool. One goroutine at a
// time uses it.
type KeptOutlet struct {
	fanout  *Fanout
	outlets []Outlet
}

// Offer takes b and returns true. It returns false, and b belongs to the caller, while the spool
// refuses b and a required group is behind, or workers get only lines that are in the spool. Offer
// may wait for a write to the disk, but never for a sync.
func (o *KeptOutlet) Offer(b *linebuf.Buffer) bool {
	f := o.fanout
	late := f.late()
	switch {
	case late == 0 && !f.kept.always() && len(f.groups) == 1: // nothing has to be shared
		if !o.outlets[0].Offer(b) {
			f.groups[0].enqueue(b)
		}
		return true
	case late == 0 && !f.kept.always():
		f.give(b, o.outlets)
		return true
	}
	var array [Max]*linebuf.Buffer
	views := f.shareKept(b, late, array[:0])
	if views == nil {
		if !f.kept.ending.Load() && (f.kept.always() || f.behind()) {
			return false
		}
		f.give(b, o.outlets) // as without a spool: the next buffer waits until the list is empty
		return true
	}
	for i, view := range views {
		if view != nil && !o.outlets[i].Offer(view) {
			f.groups[i].enqueue(view)
		}
	}
	return true
}

// always reports whether workers get only lines that are in the spool.
func (k *kept) always() bool { return k.Always && !k.overflow.Load() }

// EndAlways makes the fan-out go on as if Always were not set: for a drain in which the spool takes
// no lines, so that only workers can have them.
func (f *Fanout) EndAlways() {
	f.kept.overflow.Store(true)
	f.kept.announceRoom()
}

// behind reports whether the list of a required group is not empty. It holds a buffer of each
// sender at most.
func (f *Fanout) behind() bool {
	for _, g := range f.groups {
		if g.Required && g.behind.Load() {
			return true
		}
	}
	return false
}

// Flush does nothing: Offer lets workers know of all lines.
func (o *KeptOutlet) Flush() {}

// Room returns a channel that is closed when Offer may take what it has refused. The caller calls
// Room before Offer.
func (o *KeptOutlet) Room() <-chan struct{} { return o.fanout.kept.awaitRoom() }

// TakeDropped returns nothing: Offer drops no lines.
func (o *KeptOutlet) TakeDropped() linebuf.Count { return linebuf.Count{} }

// late returns the required groups that have no room now.
func (f *Fanout) late() (late linebuf.Groups) {
	for i, g := range f.groups {
		if g.Required && !g.hasRoom() {
			late |= 1 << i
		}
	}
	return late
}

// shareKept is Share with lines that go to the spool: always, or for the groups that are late. The
// view of a late group is nil: its lines wait in the spool. If the spool has no room, shareKept
// returns nil, and b still belongs to the caller.
//
// The spool puts its view back once the lines are synced, or confirmed by all groups that are to
// get them from it or with its receipt. So the watching receipts that b holds for these groups are
// released then: what waits for the lines need not wait for the targets.
func (f *Fanout) shareKept(b *linebuf.Buffer, late linebuf.Groups, views []*linebuf.Buffer) []*linebuf.Buffer {
	k := f.kept
	pending := late
	if k.always() {
		pending = k.required
	}
	receipt, err := k.Spool.Reserve(b, pending, late)
	if err != nil {
		signal(k.refused)
		return nil
	}
	f.countSpilled(b.Count(), late)
	first, n := len(views), len(f.groups)
	views = f.buffers.Share(b, k.sharers, views)
	stored := views[first+n]
	views = views[:first+n]
	for i, view := range views[first:] {
		if pending&(1<<i) != 0 { // the lines are safe once they are synced
			stored.TakeReceipts(view)
		}
	}
	k.Spool.Write(receipt, stored)
	for i, view := range views[first:] {
		g := f.groups[i]
		switch group := linebuf.Groups(1) << i; {
		case late&group != 0:
			f.buffers.Put(view)
			views[first+i] = nil
		case pending&group != 0:
			view.Attach(receipt, group)
		case g.overBudget(view):
			g.drop(view)
			views[first+i] = nil
		}
	}
	return views
}

// countSpilled counts lines for groups that get them from the spool.
func (f *Fanout) countSpilled(n linebuf.Count, groups linebuf.Groups) {
	for i, g := range f.groups {
		if groups&(1<<i) != 0 {
			g.spilled.Add(n)
		}
	}
}

// Keep writes lines to the spool that workers of a required group have not confirmed when they end,
// unless they are there already. While the disk is slow or fails, it waits until ctx ends. It owns
// b. Lost counts the lines that are not in the spool then.
func (f *Fanout) Keep(ctx context.Context, group int, b *linebuf.Buffer) {
	if b.Kept() {
		b.Forsake()
		f.buffers.Put(b)
		return
	}
	n := b.Count()
	if !f.kept.append(ctx, b, 1<<group) {
		f.kept.lost.Add(n)
		f.buffers.Put(b)
	}
}

// append appends b, and waits for room in the spool if it has to, until ctx ends.
func (k *kept) append(ctx context.Context, b *linebuf.Buffer, groups linebuf.Groups) bool {
	for {
		room := k.Spool.Room()
		_, err := k.Spool.Append(b, groups, groups)
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// KeepRest is Keep for what no worker of a required group has taken. It is called after Run, when
// all workers and senders have ended.
func (f *Fanout) KeepRest(ctx context.Context) {
	for i, g := range f.groups {
		if !g.Required {
			continue
		}
		for _, b := range g.Rest() {
			g.spilled.Add(b.Count()) // or is lost
			f.Keep(ctx, i, b)
		}
	}
}
