package fanout

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"linesplit/internal/loglimit"
	"linesplit/linebuf"
)

// Group is the queue of one group.
//
// Buffers go straight to the channel of the workers while that has room. Others wait in a list,
// which pump empties. For a required group the list holds no more than a buffer of each sender that
// was in the middle of Offer. That of a best-effort group is bounded by its budget.
type Group struct {
	Options
	buffers  *linebuf.Pool
	logger   *slog.Logger
	account  linebuf.Account
	dropped  linebuf.AtomicCount
	spilled  linebuf.AtomicCount // lines that went to the spool and not to workers
	returned linebuf.AtomicCount // lines that came from the spool
	drops    loglimit.Limiter
	report   func(times int) // logs drops, as a value, so that a drop does not allocate it

	queue     chan *linebuf.Buffer // to the workers
	behind    atomic.Bool          // the list is not empty
	work      chan struct{}        // holds one value: the list is not empty any more
	room      chan struct{}        // holds one value: the list is empty again
	emptied   func()               // called when the list is empty again; may be nil
	over      chan struct{}        // closed when no more comes
	fresh     chan *linebuf.Buffer // new lines while others come from the spool; nil: there is no spool
	replayed  chan *linebuf.Buffer // from the spool; nil as fresh is
	replaying atomic.Bool          // lines come from the spool
	held      *linebuf.Buffer      // what pump has taken from fresh or replayed and not passed on
	abandoned chan struct{}        // closed by Abandon
	abandon   sync.Once

	mu      sync.Mutex // guards the fields below; nothing waits while it is held
	waiting []*linebuf.Buffer
	head    int // waiting[head:] are in the list
}

func newGroup(o Options, buffers *linebuf.Pool, logger *slog.Logger) *Group {
	g := &Group{
		Options: o, buffers: buffers, logger: logger.With("group", o.Name),
		queue: make(chan *linebuf.Buffer, o.Queue), work: make(chan struct{}, 1), room: make(chan struct{}, 1),
		over: make(chan struct{}), abandoned: make(chan struct{}),
	}
	g.report = g.logDrops
	return g
}

// Lines returns the channel for the workers of the group. Run closes it after the last line.
func (g *Group) Lines() <-chan *linebuf.Buffer { return g.queue }

// Dropped counts the lines that the group did not get for lack of budget.
func (g *Group) Dropped() linebuf.Count { return g.dropped.Load() }

// Spilled counts the lines that went to the spool because the group had no room for them.
func (g *Group) Spilled() linebuf.Count { return g.spilled.Load() }

// Returned counts the lines that the group got from the spool, those of an earlier run included.
func (g *Group) Returned() linebuf.Count { return g.returned.Load() }

// Held returns the bytes of memory that are kept for the group.
func (g *Group) Held() int64 { return g.account.Held() }

// Abandon ends the queue of a group whose workers take no more.
func (g *Group) Abandon() { g.abandon.Do(func() { close(g.abandoned) }) }

// FlushLog logs what the log has held back to report it in sum.
func (g *Group) FlushLog() { g.drops.Flush() }

// overBudget reports whether the group must not hold the newest view, with which it is charged
// already. A group that holds nothing else may have it, however large it is.
func (g *Group) overBudget(view *linebuf.Buffer) bool {
	return !g.Required && g.account.Held() > max(g.Budget, view.Memory())
}

// drop gives up a view in place of delivering it.
func (g *Group) drop(view *linebuf.Buffer) {
	g.dropped.Add(view.Count())
	view.Lose(view.Lines)
	g.buffers.Put(view)
	g.drops.Do(g.report)
}

func (g *Group) logDrops(int) {
	n := g.dropped.Load()
	g.logger.Warn("group is over its budget: lines dropped for this group",
		"dropped_lines_so_far", n.Lines, "dropped_bytes_so_far", n.Bytes, "budget", g.Budget)
}

// hasRoom reports whether the workers of a group with a spool have room for another buffer. While
// lines come back from the spool, new lines use a queue of their own, half as long.
func (g *Group) hasRoom() bool {
	switch {
	case g.behind.Load():
		return false
	case g.replaying.Load():
		return len(g.fresh) < cap(g.fresh)
	}
	return len(g.queue) < cap(g.queue)
}

// enqueue appends a view to the queue, without waiting.
func (g *Group) enqueue(view *linebuf.Buffer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.head == len(g.waiting) {
		to := g.queue
		if g.replaying.Load() {
			to = g.fresh
		}
		select {
		case to <- view:
			return
		default:
		}
	}
	if len(g.waiting) == cap(g.waiting) && g.head >= len(g.waiting)/2 {
		n := copy(g.waiting, g.waiting[g.head:])
		clear(g.waiting[n:])
		g.waiting, g.head = g.waiting[:n], 0
	}
	g.waiting = append(g.waiting, view)
	g.behind.Store(true)
	signal(g.work)
}

// pump moves the list to the channel, in order, and then new lines and those of the spool in random
// turns. It closes the channel when no more comes and the list is empty. When hard ends or the
// group is abandoned it returns before that: then no worker takes anything more, and senders may
// still add to the queue.
func (g *Group) pump(hard context.Context) {
	for {
		view, more := g.first()
		if more {
			if !g.pass(hard, view) {
				return
			}
			g.removeFirst()
			continue
		}
		select {
		case <-g.work:
			continue
		case view = <-g.fresh:
		case view = <-g.replayed:
		case <-g.over:
			if view, more = g.last(); !more {
				close(g.queue)
				if g.Ended != nil {
					g.Ended()
				}
				return
			}
		case <-g.abandoned:
			return
		case <-hard.Done():
			return
		}
		if view != nil {
			g.held = view
			if !g.pass(hard, view) {
				return
			}
			g.held = nil
		}
	}
}

// pass gives a view to the workers. It returns false if they take nothing any more.
func (g *Group) pass(hard context.Context, view *linebuf.Buffer) bool {
	select {
	case g.queue <- view:
		return true
	case <-g.abandoned:
	case <-hard.Done():
	}
	return false
}

// last looks for lines when no new ones come: it returns a view of fresh, or nil if the list has
// some. more is false if nothing is left.
func (g *Group) last() (view *linebuf.Buffer, more bool) {
	select {
	case view = <-g.fresh:
		return view, true
	default:
		_, more = g.first()
		return nil, more
	}
}

// first returns the oldest view of the list, which stays in it.
func (g *Group) first() (view *linebuf.Buffer, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.head == len(g.waiting) {
		return nil, false
	}
	return g.waiting[g.head], true
}

func (g *Group) removeFirst() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting[g.head] = nil
	if g.head++; g.head == len(g.waiting) {
		g.waiting, g.head = g.waiting[:0], 0
		g.behind.Store(false)
		signal(g.room)
		if g.emptied != nil {
			g.emptied()
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
