package lane

import (
	"linesplit/linebuf"
)

// Sharer divides buffers among several Routes.
type Sharer interface {
	// Share returns a view of b for each of the routes, with nil for one that is not to get b, and
	// gives up b. It appends them to views. If it returns none, b still belongs to the caller.
	Share(b *linebuf.Buffer, views []*linebuf.Buffer) []*linebuf.Buffer
	// Drop gives up the view of the route with index i, which has no lane for it.
	Drop(i int, view *linebuf.Buffer)
}

// Group is one of the Routes of a Multi.
type Group struct {
	Routes *Routes
	Waits  bool // senders wait while a lane has no room; otherwise lanes take all that Sharer gives
}

// JoinRoom makes one channel, that of the first group, announce room in the lanes of all groups for
// which senders wait. It is called before the routes are in use.
func JoinRoom(groups []Group) {
	for _, g := range groups[1:] {
		if g.Waits {
			g.Routes.room = groups[0].Routes.room
		}
	}
}

// Multi hands the lines of one sender to the lanes of several groups, each of which gets all of
// them. A buffer goes to all groups or, while a lane that it has lines for is full in a group that
// waits, to none: so what one group was given never differs from what another one was. One
// goroutine at a time uses it.
type Multi struct {
	sources []*Source
	waits   []bool
	share   Sharer
	spooled bool       // Share may write to a disk, and buffers get the key of their lines
	ts      []*scratch // while it offers
	views   []*linebuf.Buffer
	dropped linebuf.Count
}

// NewMulti returns a Multi for groups whose Room is joined. newSource returns a source for each of
// them, all with the same keys. With spooled, Share may wait for a disk, and Offer sets
// linebuf.Buffer.Key if all lines of the sender have one key, so that a replay source finds it.
func NewMulti(groups []Group, share Sharer, spooled bool, newSource func(*Routes) *Source) *Multi {
	m := &Multi{share: share, spooled: spooled}
	for _, g := range groups {
		m.sources, m.waits = append(m.sources, newSource(g.Routes)), append(m.waits, g.Waits)
	}
	return m
}

// Room is that of all groups; see Routes.Room.
func (m *Multi) Room() <-chan struct{} { return m.sources[0].routes.Room() }

// TakeDropped returns the number of lines that were dropped, for lack of a key, since the last
// call.
func (m *Multi) TakeDropped() linebuf.Count {
	n := m.dropped
	m.dropped = linebuf.Count{}
	return n
}

// mark is the end of a line in a buffer, and its slot, which is none for a line without a key.
type mark struct {
	end  int
	slot uint16
}

// Offer gives the lines of b to lanes of all groups and returns true; b has other owners then. Or
// it returns false, and b belongs to the caller, less those lines that are dropped for lack of a
// key. Offer waits for nothing but the disk of a spool.
func (m *Multi) Offer(b *linebuf.Buffer) bool {
	for _, s := range m.sources {
		m.ts = append(m.ts, s.routes.takeScratch())
	}
	defer m.release()
	m.mark(b)
	if len(b.B) == 0 {
		m.sources[0].routes.pool.Put(b)
		return true
	}
	now := len(b.B) < fewBytes
	if !m.scatter(b) {
		m.Flush()
		return false
	}
	for i, s := range m.sources {
		much := uint64(min(muchBytes, s.routes.limit.Load()/4))
		for _, f := range m.ts[i].filled {
			if now || f.holds >= much {
				f.lane.wake(now)
			} else {
				s.owe(f.lane)
			}
		}
	}
	return true
}

// Prepare does what Offer does before it looks for room: it takes lines without a key out of b if
// these are dropped, and gives b its key.
func (m *Multi) Prepare(b *linebuf.Buffer) {
	m.ts = append(m.ts, m.sources[0].routes.takeScratch())
	m.mark(b)
	m.sources[0].routes.putScratch(m.ts[0])
	m.ts[0] = nil
	m.ts = m.ts[:0]
}

// Flush wakes the workers that Offer has not woken; see Source.Offer.
func (m *Multi) Flush() {
	for _, s := range m.sources {
		s.Flush()
	}
}

func (m *Multi) release() {
	for i, s := range m.sources {
		s.routes.putScratch(m.ts[i])
	}
	clear(m.ts)
	m.ts = m.ts[:0]
}

// mark finds the slots of the lines, once for all groups. It takes lines without a key out of b if
// these are dropped.
func (m *Multi) mark(b *linebuf.Buffer) {
	s, t := m.sources[0], m.ts[0]
	t.marks = t.marks[:0]
	if s.whole {
		if m.spooled {
			b.Key = s.hash
		}
		t.marks = append(t.marks, mark{len(b.B), uint16(slotOf(s.hash))})
		return
	}
	kept := 0
	for at := 0; at < len(b.B); {
		line, size := b.Framing.First(b.B[at:])
		slot := uint16(none)
		hash, ok := s.find(line)
		switch {
		case ok:
			slot = uint16(slotOf(hash))
		case s.drop:
			m.dropped.Add(linebuf.Count{Lines: 1, Bytes: uint64(size)})
			at += size
			continue
		}
		if kept < at {
			copy(b.B[kept:], b.B[at:at+size])
		}
		kept, at = kept+size, at+size
		t.marks = append(t.marks, mark{kept, slot})
	}
	b.B, b.Lines = b.B[:kept], len(t.marks)
}

// scatter is Offer, without waking lanes. The routes of all groups stay as they are meanwhile, but
// with spooled they are unlocked during Share, and looked up again afterwards.
func (m *Multi) scatter(b *linebuf.Buffer) (done bool) {
	m.lockRoutes()
	defer m.unlockRoutes()
	if !m.fitsLocked(b) {
		return false
	}
	if m.spooled {
		m.unlockRoutes()
	}
	m.views = m.share.Share(b, m.views[:0])
	if m.spooled {
		m.lockRoutes()
		for i, s := range m.sources {
			s.splitMarks(m.ts[0].marks, m.ts[i])
		}
	}
	if len(m.views) == 0 {
		return false
	}
	m.giveLocked()
	return true
}

func (m *Multi) lockRoutes() {
	for _, s := range m.sources {
		s.routes.mu.RLock()
	}
}

func (m *Multi) unlockRoutes() {
	for _, s := range m.sources {
		s.routes.mu.RUnlock()
	}
}

// fitsLocked finds the lanes of all lines, and reports whether those that senders wait for have
// room.
func (m *Multi) fitsLocked(b *linebuf.Buffer) bool {
	fits := true
	for i, s := range m.sources {
		s.splitMarks(m.ts[0].marks, m.ts[i])
		if m.waits[i] && !s.hasRoom(b, m.ts[i]) {
			fits = false
		}
	}
	return fits
}

// giveLocked gives the views to the lanes.
func (m *Multi) giveLocked() {
	for i, view := range m.views {
		switch s := m.sources[i]; {
		case view == nil:
		case len(s.routes.open) == 0: // its senders do not wait until there is a target
			m.share.Drop(i, view)
		default:
			s.giveAll(view, m.ts[i])
		}
	}
	clear(m.views)
}

// splitMarks is split for lines whose slots are known.
func (s *Source) splitMarks(marks []mark, t *scratch) {
	t.begin(len(s.routes.ways))
	if len(s.routes.open) == 0 {
		return
	}
	keyless, at := -1, 0
	for _, m := range marks {
		var way uint16
		if m.slot != none {
			way = s.routes.table[m.slot]
		} else {
			if keyless < 0 {
				keyless = int(s.anyLane())
			}
			way = uint16(keyless)
		}
		t.add(at, m.end, way)
		at = m.end
	}
}

// hasRoom reports whether every lane that b has lines for has room.
func (s *Source) hasRoom(b *linebuf.Buffer, t *scratch) bool {
	fits := len(s.routes.open) > 0
	for _, i := range t.used {
		if !s.routes.ways[i].queue.hasRoom(s.routes.limit.Load(), b.Read) {
			fits = false
		}
	}
	return fits
}

// giveAll gives all lines to their lanes, whatever room these have.
func (s *Source) giveAll(view *linebuf.Buffer, t *scratch) {
	r := s.routes
	within := bound{limit: r.limit.Load(), force: true}
	if len(t.used) == 1 {
		s.giveWhole(view, t.used[0], t, within)
		return
	}
	for _, i := range t.used {
		w := r.ways[i]
		holds, _ := w.queue.copyIn(r.pool, view, &t.shares[i], t.pieces, within)
		if w.lane != nil {
			t.filled = append(t.filled, filled{w.lane, holds})
		}
	}
	r.pool.Put(view)
}
