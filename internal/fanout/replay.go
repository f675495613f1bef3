package fanout

import (
	"context"
	"sync"
	"time"

	"linesplit/linebuf"
)

// startReplays starts a goroutine for each required group that gives its workers the lines that
// wait in the spool, and one that tells senders of room. end lets the replays finish, or returns
// early if soft ends.
func (f *Fanout) startReplays(soft context.Context) (end func()) {
	if f.kept == nil {
		return func() {}
	}
	input, endInput := context.WithCancel(soft)
	watching, endWatch := context.WithCancel(context.WithoutCancel(soft))
	var replays sync.WaitGroup
	replays.Go(func() { f.kept.watchRoom(watching) })
	for i, g := range f.groups {
		if g.Required {
			replays.Go(func() { f.replay(soft, input, i) })
		}
	}
	return func() { endInput(); endWatch(); replays.Wait() }
}

// replay returns when the input has ended and nothing waits for the group, or when soft has ended.
func (f *Fanout) replay(soft, input context.Context, group int) {
	g, spool := f.groups[group], f.kept.Spool
	to := g.replayTo
	if f.kept.NewReplay != nil {
		outlet := f.kept.NewReplay(group)
		to = func(soft context.Context, b *linebuf.Buffer) bool { return g.replayToLanes(soft, outlet, b) }
	}
	for soft.Err() == nil {
		behind, reads := spool.Behind(group)
		g.replaying.Store(behind)
		if !behind {
			f.kept.order.caughtUp(f, group, reads)
			if input.Err() != nil {
				return
			}
		}
		b, err := nextOf(spool, soft, input, group)
		if err != nil { // the spool logs its faults, and waits before it tries again
			continue
		}
		g.replaying.Store(true)
		n := b.Count()
		if to(soft, b) {
			g.returned.Add(n)
			continue
		}
		n.Sub(b.Count()) // lanes have taken a part
		g.returned.Add(n)
		b.Forsake()
		f.buffers.Put(b)
		return
	}
}

// lookAgain is how long a replay waits for lines once the input has ended. A spool that does not
// know yet what is in its files counts as one with lines, and may then have none.
const lookAgain = 200 * time.Millisecond

// nextOf returns the next lines of a group. It waits until the input ends, and lookAgain after
// that.
func nextOf(spool Spool, soft, input context.Context, group int) (*linebuf.Buffer, error) {
	if input.Err() == nil {
		return spool.Next(input, group)
	}
	wait, cancel := context.WithTimeout(soft, lookAgain)
	defer cancel()
	return spool.Next(wait, group)
}

// replayTo gives b to the workers of the group, by way of pump. It returns false if soft ends
// first.
func (g *Group) replayTo(soft context.Context, b *linebuf.Buffer) bool {
	select {
	case g.replayed <- b:
		return true
	case <-soft.Done():
		return false
	}
}

// replayToLanes gives the lines of b to the lanes of their keys. It returns false if soft ends
// first, and leaves the other lines in b.
func (g *Group) replayToLanes(soft context.Context, to ReplayOutlet, b *linebuf.Buffer) bool {
	for {
		room := to.Room()
		done := to.Offer(b)
		to.Flush()
		g.dropped.Add(to.TakeDropped())
		if done {
			return true
		}
		select {
		case <-room:
		case <-soft.Done():
			return false
		}
	}
}
