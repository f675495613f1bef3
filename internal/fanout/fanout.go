// Package fanout gives each buffer of lines to several groups of targets. The groups share its
// memory (linebuf.Pool.Share), and nothing is copied.
//
//	                                  ┌─▶ queue ─▶ workers of group "main"
//	chan *linebuf.Buffer ─▶ Fanout ───┤
//	Outlet ───────────────────────────┴─▶ queue ─▶ workers of group "archive"
//
// A required group that falls behind holds up all lines, and in the end the senders. A best-effort
// group holds memory up to its budget; beyond that it does not get the newest lines, which are
// counted as dropped for that group alone.
//
// With a spool, lines for which a required group has no room go to disk instead; see kept.go.
package fanout

import (
	"context"
	"log/slog"
	"sync"

	"linesplit/linebuf"
)

// Max is the largest number of groups.
const Max = linebuf.MaxGroups

// Options describe one group.
type Options struct {
	Name     string
	Required bool
	Budget   int64  // bytes of memory that a best-effort group may hold
	Queue    int    // buffers in the queue of its workers
	Ended    func() // called once its channel is closed; nil: nothing is
}

// Fanout gives buffers to groups. Its methods are safe for concurrent use; Run may be called once.
type Fanout struct {
	buffers  *linebuf.Pool
	groups   []*Group
	accounts []*linebuf.Account // of the groups
	kept     *kept              // nil: there is no spool
}

// New returns a fan-out to one to Max groups.
func New(buffers *linebuf.Pool, groups []Options, logger *slog.Logger) *Fanout {
	f := &Fanout{buffers: buffers}
	for _, o := range groups {
		g := newGroup(o, buffers, logger)
		f.groups, f.accounts = append(f.groups, g), append(f.accounts, &g.account)
	}
	return f
}

// Groups returns the groups, in the order of the options.
func (f *Fanout) Groups() []*Group { return f.groups }

// Run takes buffers from lines, which it owns from then on, and gives each of them to all groups.
// It returns when lines is closed and all buffers are in the channels of the groups, which it then
// closes, or soon after hard has ended. It does not wait for a group that was abandoned. It waits
// for the lines in a spool, too, until soft ends: then they stay there.
func (f *Fanout) Run(soft, hard context.Context, lines <-chan *linebuf.Buffer) {
	var pumps sync.WaitGroup
	for _, g := range f.groups {
		pumps.Go(func() { g.pump(hard) })
	}
	endReplays := f.startReplays(soft)
	all := f.distribute(hard, lines)
	if f.kept != nil {
		f.kept.end()
	}
	endReplays()
	if all {
		for _, g := range f.groups {
			close(g.over)
		}
	}
	pumps.Wait()
}

// distribute returns true at the end of lines, and false if hard ends first. Then it puts the
// buffer that it has taken, if any, into the queues, where Group.Rest finds it.
func (f *Fanout) distribute(hard context.Context, lines <-chan *linebuf.Buffer) bool {
	for {
		select {
		case b, ok := <-lines:
			switch {
			case !ok:
				return true
			case !f.awaitRoom(hard):
				f.give(b, nil)
				return false
			}
			f.give(b, nil)
		case <-hard.Done():
			return false
		}
	}
}

// awaitRoom waits until the required groups take more. It returns false if hard ends first.
func (f *Fanout) awaitRoom(hard context.Context) bool {
	for _, g := range f.groups {
		for g.Required && g.behind.Load() {
			select {
			case <-g.room:
			case <-hard.Done():
				return false
			}
		}
	}
	return true
}

// Share gives up b for a view of it for each group, appended to views. It is nil for a group that
// is over its budget, for which the lines are counted as dropped. If the lines have to be in a
// spool first and cannot, Share returns views as they are, and b still belongs to the caller.
func (f *Fanout) Share(b *linebuf.Buffer, views []*linebuf.Buffer) []*linebuf.Buffer {
	if f.kept != nil && f.kept.always() {
		return f.shareKept(b, 0, views)
	}
	return f.share(b, views)
}

func (f *Fanout) share(b *linebuf.Buffer, views []*linebuf.Buffer) []*linebuf.Buffer {
	first := len(views)
	views = f.buffers.Share(b, f.accounts, views)
	for i, view := range views[first:] {
		if f.groups[i].overBudget(view) {
			f.Drop(i, view)
			views[first+i] = nil
		}
	}
	return views
}

// Drop gives up a view of the group with an index. Lines that are in a spool wait there; others are
// counted as dropped for the group.
func (f *Fanout) Drop(i int, view *linebuf.Buffer) {
	if view.Kept() {
		f.postpone(i, view)
		return
	}
	f.groups[i].drop(view)
}

// give hands b to each group: to its outlet if there are outlets and that takes it, else to its
// queue. No line goes to a spool.
func (f *Fanout) give(b *linebuf.Buffer, outlets []Outlet) {
	var array [Max]*linebuf.Buffer
	for i, view := range f.share(b, array[:0]) {
		g := f.groups[i]
		switch {
		case view == nil:
		case outlets != nil && !g.behind.Load() && outlets[i].Offer(view):
		default:
			g.enqueue(view)
		}
	}
}

// Outlet takes buffers without waiting; see workerpool.Outlet.
type Outlet interface {
	// Offer reports whether the outlet has taken b, which it then owns.
	Offer(b *linebuf.Buffer) bool
}

// NewOutlet returns an outlet for one connection that gives each buffer to all groups, past the
// channel. outlets are those of the groups, in their order.
func (f *Fanout) NewOutlet(outlets []Outlet) Outlet { return &outlet{f, outlets} }

type outlet struct {
	fanout  *Fanout
	outlets []Outlet
}

// Offer takes b unless a required group is behind: then the buffer belongs on the channel, and its
// sender waits there.
func (o *outlet) Offer(b *linebuf.Buffer) bool {
	if o.fanout.behind() {
		return false
	}
	o.fanout.give(b, o.outlets)
	return true
}
