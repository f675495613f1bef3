package fanout

import "linesplit/linebuf"

// This file hands out what is left when everything stops before all lines are delivered.

// TakeRest gives what is left in the channel to all groups, whatever room they have, so that
// Group.Rest finds it. It is called after hard has ended, Run has returned, and the senders have
// ended.
func (f *Fanout) TakeRest(lines <-chan *linebuf.Buffer) {
	for {
		select {
		case b, ok := <-lines:
			if !ok {
				return
			}
			f.give(b, nil)
		default:
			return
		}
	}
}

// Rest takes what is left in the queue, oldest first, for which no worker is there any more. The
// caller owns it, and calls Rest after Fanout.Run has returned and the senders have ended.
func (g *Group) Rest() (all []*linebuf.Buffer) {
	for more := true; more; {
		var view *linebuf.Buffer
		select {
		case view, more = <-g.queue:
			if more {
				all = append(all, view)
			}
		default:
			more = false
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	all = append(all, g.waiting[g.head:]...)
	clear(g.waiting)
	g.waiting, g.head = g.waiting[:0], 0
	g.behind.Store(false)
	return all
}
