package fanout

import "context"

// This file wakes senders whose lines neither the workers nor the spool have taken.

// awaitRoom returns a channel that is closed when lines that are refused after this call may be
// taken.
func (k *kept) awaitRoom() <-chan struct{} {
	room := *k.room.Load()
	k.awaited.Store(true) // after the load: an announcement in between closes room
	return room
}

// announceRoom wakes the senders that wait.
func (k *kept) announceRoom() {
	if k.awaited.Swap(false) {
		close(*k.room.Swap(new(make(chan struct{}))))
	}
}

// end makes outlets take all lines from now on: those for which the spool has no room go to the
// lists, where Group.Rest finds them.
func (k *kept) end() {
	k.ending.Store(true)
	k.announceRoom()
}

// watchRoom announces the room of the spool after it has refused lines, and that of lanes, until
// ctx ends. Groups without keys announce theirs themselves.
func (k *kept) watchRoom(ctx context.Context) {
	ofLanes := func() <-chan struct{} { return nil }
	if k.NewReplay != nil {
		ofLanes = k.NewReplay(0).Room // that of all groups
	}
	var spool <-chan struct{}
	lanes := ofLanes()
	for {
		select {
		case <-k.refused:
			spool = k.Spool.Room()
		case <-spool:
			spool = nil
			k.announceRoom()
		case <-lanes:
			lanes = ofLanes() // before the announcement: none is missed
			k.announceRoom()
		case <-ctx.Done():
			return
		}
	}
}
