package fanout

import "linesplit/linebuf"

// This file hands out the lines that are left when delivery stops early.

// TakeRest gives the buffers that are left in the channel to all groups, even if these have no
// room, so that Group.Rest finds them. It is called after hard has ended, Run has returned, and the
// senders have ended.
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

// Rest takes the buffers that are left in the queue, oldest first. The caller owns them, and calls
// Rest after Fanout.Run has returned and the senders and workers have ended.
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
	if g.held != nil {
		all, g.held = append(all, g.held), nil
	}
	all = append(all, g.waiting[g.head:]...)
	clear(g.waiting)
	g.waiting, g.head = g.waiting[:0], 0
	g.behind.Store(false)
	for len(g.fresh) > 0 {
		all = append(all, <-g.fresh)
	}
	return all
}
