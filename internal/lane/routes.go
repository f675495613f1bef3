package lane

import (
	"sync"
	"sync/atomic"

	"linesplit/internal/rendezvous"
	"linesplit/linebuf"
)

const (
	slotBits = 14
	// numSlots is the number of slots that keys fall into: enough for each of some hundred targets
	// to get its share of the keys within some per cent.
	numSlots = 1 << slotBits
)

func slotOf(hash uint64) int { return int(hash >> (64 - slotBits)) }

// none stands for no entry of Routes.ways.
const none = 1<<16 - 1

// Routes says which lane each key has. It is safe for concurrent use.
type Routes struct {
	pool  *linebuf.Pool
	limit atomic.Int64 // of the memory of one queue, in bytes
	moves atomic.Int32 // under way

	scratches chan *scratch
	room      *room

	mu      sync.RWMutex // guards the fields below; sources hold it while they scatter
	ways    []way        // where lines can go
	table   [numSlots]uint16
	wanted  [numSlots]uint16 // the lane that a slot is to have
	open    []uint16         // the lanes that slots are to have
	pending []*move
	ended   bool
}

// way is where a line can go: to a lane, or aside while its slot moves. The zero value is not in
// use.
type way struct {
	queue *queue
	lane  *Lane // nil: aside
}

// move is the way of some slots from one lane to another. Their lines wait in its queue until the
// old lane has confirmed all that it was given before.
type move struct {
	queue
	from, to *Lane
	after    uint64 // lines of from that have to be confirmed
	index    uint16 // in Routes.ways
}

// New returns routes without lanes, to which copies of lines take memory from pool. One queue may
// hold up to limit bytes.
func New(pool *linebuf.Pool, limit int64) *Routes {
	r := &Routes{pool: pool, scratches: make(chan *scratch, 64), room: newRoom()}
	r.SetLimit(limit)
	for i := range r.table {
		r.table[i], r.wanted[i] = none, none
	}
	return r
}

// SetLimit changes how many bytes one queue may hold. A single buffer may be larger.
func (r *Routes) SetLimit(n int64) { r.limit.Store(n) }

// NewLane returns a lane that gets nothing before Assign names it. wake is called when the lane has
// got lines. If now is true, the caller has few of them, and writing them at once is well worth it.
func (r *Routes) NewLane(wake func(now bool)) *Lane {
	l := &Lane{routes: r, wake: wake}
	r.mu.Lock()
	defer r.mu.Unlock()
	l.index = r.addWayLocked(way{&l.queue, l})
	return l
}

func (r *Routes) addWayLocked(w way) uint16 {
	for i := range r.ways {
		if r.ways[i].queue == nil {
			r.ways[i] = w
			return uint16(i)
		}
	}
	r.ways = append(r.ways, w)
	return uint16(len(r.ways) - 1)
}

// Home is a target that takes keys.
type Home struct {
	Name   string  // the same in every process, such as its address
	Weight float64 // its share of the keys relative to other homes; above 0
	Lanes  []*Lane // share its keys evenly; one more or less at the end moves the fewest
}

// Assign distributes the slots over homes, and moves as few as possible. With no homes, nothing
// changes: lines go on to wait in their lanes.
func (r *Routes) Assign(homes []Home) {
	if len(homes) == 0 {
		return
	}
	wanted := distribute(homes)
	r.mu.Lock()
	r.wanted = *wanted
	r.open = r.open[:0]
	for _, h := range homes {
		for _, l := range h.Lanes {
			r.open = append(r.open, l.index)
		}
	}
	r.beginMovesLocked()
	filled := r.settleLocked()
	r.mu.Unlock()
	r.announceRoom()
	wakeAll(filled)
}

// distribute returns the index of each slot's lane.
func distribute(homes []Home) *[numSlots]uint16 {
	nodes := make([]rendezvous.Node, len(homes))
	for i, h := range homes {
		nodes[i] = rendezvous.Node{ID: rendezvous.ID(h.Name), Weight: h.Weight}
	}
	var wanted [numSlots]uint16
	for slot := range wanted {
		lanes := homes[rendezvous.Pick(uint64(slot), nodes)].Lanes
		wanted[slot] = lanes[rendezvous.Bucket(uint64(slot), len(lanes))].index
	}
	return &wanted
}

// beginMovesLocked begins to move all slots that are not where they are to be, and not on their way
// from an earlier move either.
func (r *Routes) beginMovesLocked() {
	began := map[[2]uint16]*move{}
	for slot, at := range r.table {
		to := r.wanted[slot]
		switch {
		case at == to:
		case at == none:
			r.table[slot] = to
		case r.ways[at].lane == nil || r.ended: // once it has arrived, it may move on
		default:
			m := began[[2]uint16{at, to}]
			if m == nil {
				m = r.beginMoveLocked(r.ways[at].lane, r.ways[to].lane)
				began[[2]uint16{at, to}] = m
			}
			r.table[slot] = m.index
		}
	}
}

func (r *Routes) beginMoveLocked(from, to *Lane) *move {
	m := &move{from: from, to: to}
	_, m.after = from.count()
	m.index = r.addWayLocked(way{&m.queue, nil})
	r.pending = append(r.pending, m)
	r.moves.Add(1)
	return m
}

// Settle ends the moves for which all is confirmed that has to be. It is to be called now and then,
// and costs nothing while no slot moves. It reports whether no slot is left on the way.
func (r *Routes) Settle() bool {
	if r.moves.Load() == 0 {
		return true
	}
	r.mu.Lock()
	filled := r.settleLocked()
	r.mu.Unlock()
	if len(filled) > 0 {
		r.announceRoom()
		wakeAll(filled)
	}
	return r.moves.Load() == 0
}

// settleLocked returns the lanes that slots have moved to.
func (r *Routes) settleLocked() (filled []*Lane) {
	for i := 0; i < len(r.pending); {
		m := r.pending[i]
		if m.from.confirmed.Load() < m.after {
			i++
			continue
		}
		r.endMoveLocked(m)
		r.pending = append(r.pending[:i:i], r.pending[i+1:]...)
		filled = append(filled, m.to)
	}
	if len(filled) > 0 && !r.ended {
		n := len(r.pending)
		r.beginMovesLocked() // for slots that are to go on at once
		if len(r.pending) > n {
			filled = append(filled, r.settleLocked()...)
		}
	}
	return filled
}

func (r *Routes) endMoveLocked(m *move) {
	m.moveTo(&m.to.queue)
	for slot, at := range r.table {
		if at == m.index {
			r.table[slot] = m.to.index
		}
	}
	r.ways[m.index] = way{}
	r.moves.Add(-1)
}

// End tells that no more lines come: slots on the way arrive, and none sets out.
func (r *Routes) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// Finished reports whether l is empty, and no slot is on the way to it. Behind End, it gets nothing
// more then.
func (r *Routes) Finished(l *Lane) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.finishedLocked(l)
}

func (r *Routes) finishedLocked(l *Lane) bool {
	for _, m := range r.pending {
		if m.to == l {
			return false
		}
	}
	return l.Empty()
}

// Unused reports whether a lane is empty, has no slot, and none is on the way from or to it: it
// gets nothing before an Assign names it again.
func (r *Routes) Unused(l *Lane) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.unusedLocked(l)
}

func (r *Routes) unusedLocked(l *Lane) bool {
	if !r.finishedLocked(l) {
		return false
	}
	for _, m := range r.pending {
		if m.from == l {
			return false
		}
	}
	for slot := range r.table {
		if r.table[slot] == l.index || r.wanted[slot] == l.index {
			return false
		}
	}
	return true
}

// Forget drops a lane, and reports whether it could: it is Unused.
func (r *Routes) Forget(l *Lane) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.unusedLocked(l) {
		return false
	}
	r.ways[l.index] = way{}
	return true
}

// TakeAll takes out the buffers in lanes and those for keys that are moving, the lines of each key
// in order. The caller owns them. It is for an end at which no worker takes anything any more.
func (r *Routes) TakeAll() (all []*linebuf.Buffer) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, aside := range []bool{false, true} { // what waits aside is behind what is in a lane
		for _, w := range r.ways {
			if w.queue == nil || (w.lane == nil) != aside {
				continue
			}
			for b, _ := w.queue.pop(0); b != nil; b, _ = w.queue.pop(0) {
				all = append(all, b)
			}
		}
	}
	return all
}

// Moving says how many keys are on their way from one lane to another, as a share of all, and
// which lines wait for that.
func (r *Routes) Moving() (share float64, waiting linebuf.Count) {
	if r.moves.Load() == 0 {
		return 0, waiting
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := 0
	for _, at := range r.table {
		if at != none && r.ways[at].lane == nil {
			n++
		}
	}
	for _, m := range r.pending {
		held, _ := m.count()
		waiting.Add(held)
	}
	return float64(n) / numSlots, waiting
}

func wakeAll(lanes []*Lane) {
	for _, l := range lanes {
		l.wake(false)
	}
}

// Room returns a channel that is closed when a queue that was full has room again, or a slot has
// moved. A source takes it before it tries.
func (r *Routes) Room() <-chan struct{} { return *r.room.Load() }

func (r *Routes) announceRoom() {
	next := make(chan struct{})
	close(*r.room.Swap(&next))
}

// room has a channel that is closed when there may be room again.
type room struct{ atomic.Pointer[chan struct{}] }

func newRoom() *room {
	r, c := &room{}, make(chan struct{})
	r.Store(&c)
	return r
}
