package lane

import "linesplit/linebuf"

// Source hands the lines of one sender over to lanes. One goroutine at a time uses it.
type Source struct {
	routes  *Routes
	find    func(line []byte) (hash uint64, ok bool)
	drop    bool // lines without a key
	whole   bool // all lines have the key hash
	again   bool // all lines of a buffer have its Key; sets hash
	hash    uint64
	turn    int
	dropped linebuf.Count
	owed    []*Lane // whose workers are to be woken by Flush
	owes    []bool  // of each lane, by its index, whether it is in owed
}

// NewSource returns a source for lines whose keys find returns. Lines without a key go to any lane,
// or are dropped if drop is set. turn tells sources apart, so that they begin with different lanes.
func (r *Routes) NewSource(find func([]byte) (uint64, bool), drop bool, turn int) *Source {
	return &Source{routes: r, find: find, drop: drop, turn: turn}
}

// NewWholeSource returns a source all of whose lines have one key.
func (r *Routes) NewWholeSource(hash uint64) *Source {
	return &Source{routes: r, whole: true, hash: hash}
}

// NewReplaySource returns a source for buffers of several senders. All lines of a buffer have its
// Key.
func (r *Routes) NewReplaySource() *Source {
	return &Source{routes: r, whole: true, again: true}
}

// fewBytes is the size of a buffer in bytes below which its lines are to be written at once.
// Larger ones come from senders that write more than that: their lanes' workers write what has
// gathered meanwhile.
const fewBytes = 16 << 10

// muchBytes is how much a lane holds, in bytes, before a sender of many lines wakes its worker.
// Each read of 128 KiB has some kilobytes for each of many lanes, and a wake-up and a system call
// for these cost more than all else that happens to them.
const muchBytes = 64 << 10

// Offer gives the lines of b to their lanes, as far as these have room. If that is all of them, it
// returns true, and b has another owner. Otherwise b is left with the lines that it could not give
// away, in order, and belongs to the caller. A view, whose content must not change, is given away
// as a whole or not at all. Offer never waits.
//
// Workers that have nothing else to do may not know of the lines before the next Flush, which the
// caller calls before it waits for anything.
func (s *Source) Offer(b *linebuf.Buffer) bool {
	t := s.routes.takeScratch()
	now := len(b.B) < fewBytes
	much := uint64(min(muchBytes, s.routes.limit.Load()/4))
	done := s.scatter(b, t)
	for _, f := range t.filled {
		if now || f.holds >= much {
			f.lane.wake(now)
		} else {
			s.owe(f.lane)
		}
	}
	s.routes.putScratch(t)
	if !done {
		s.Flush()
	}
	return done
}

// owe notes that a lane's worker is to be woken.
func (s *Source) owe(l *Lane) {
	for int(l.index) >= len(s.owes) {
		s.owes = append(s.owes, false)
	}
	if !s.owes[l.index] {
		s.owes[l.index] = true
		s.owed = append(s.owed, l)
	}
}

// Flush wakes the workers that Offer has not woken.
func (s *Source) Flush() {
	for i, l := range s.owed {
		if !l.Empty() {
			l.wake(false)
		}
		s.owes[l.index], s.owed[i] = false, nil
	}
	s.owed = s.owed[:0]
}

// TakeDropped returns the number of lines that were dropped, for lack of a key, since the last
// call.
func (s *Source) TakeDropped() linebuf.Count {
	n := s.dropped
	s.dropped = linebuf.Count{}
	return n
}

// scratch is what scattering one buffer needs.
type scratch struct {
	pieces []piece
	shares []share  // of the ways, by index
	used   []uint16 // ways with a share
	filled []filled
	marks  []mark // see Multi
}

// filled is a lane that has got lines, and how many bytes it holds since.
type filled struct {
	lane  *Lane
	holds uint64
}

// piece is a run of lines of the buffer that go the same way.
type piece struct {
	from, to int
	lines    int
	way      uint16 // none: they are dropped
	next     int    // of the same way, -1 for the last
}

// share is what one way gets of the buffer.
type share struct {
	first, last int // pieces
	size, lines int
	blocked     bool // the way has no room
}

func (r *Routes) takeScratch() *scratch {
	select {
	case t := <-r.scratches:
		return t
	default:
		return &scratch{}
	}
}

func (r *Routes) putScratch(t *scratch) {
	clear(t.filled)
	t.filled = t.filled[:0]
	select {
	case r.scratches <- t:
	default:
	}
}

// scatter is Offer, without waking lanes.
func (s *Source) scatter(b *linebuf.Buffer, t *scratch) (done bool) {
	r := s.routes
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.open) == 0 {
		return false
	}
	within := bound{limit: r.limit.Load()}
	if s.whole {
		if s.again {
			s.hash = b.Key
		}
		return s.giveWhole(b, r.table[slotOf(s.hash)], t, within)
	}
	dropped := s.dropped
	s.split(b, t)
	if len(t.used) == 1 && t.shares[t.used[0]].size == len(b.B) {
		return s.giveWhole(b, t.used[0], t, within)
	}
	if b.Shared() {
		if !s.hasRoom(b, t) {
			s.dropped = dropped
			return false
		}
		within.force = true
	}
	blocked := false
	for _, i := range t.used {
		w, share := r.ways[i], &t.shares[i]
		holds, ok := w.queue.copyIn(r.pool, b, share, t.pieces, within)
		if share.blocked = !ok; share.blocked {
			blocked = true
		} else if w.lane != nil {
			t.filled = append(t.filled, filled{w.lane, holds})
		}
	}
	if blocked {
		keepBlocked(b, t)
		return false
	}
	r.pool.Put(b)
	return true
}

func (s *Source) giveWhole(b *linebuf.Buffer, way uint16, t *scratch, within bound) bool {
	w := s.routes.ways[way]
	holds, ok := w.queue.take(s.routes.pool, b, within)
	if !ok {
		return false
	}
	if w.lane != nil {
		t.filled = append(t.filled, filled{w.lane, holds})
	}
	return true
}

// split finds the way of each line of b.
func (s *Source) split(b *linebuf.Buffer, t *scratch) {
	t.begin(len(s.routes.ways))
	keyless := -1
	for at := 0; at < len(b.B); {
		line, size := b.Framing.First(b.B[at:])
		end := at + size
		var way uint16
		switch hash, ok := s.find(line); {
		case ok:
			way = s.routes.table[slotOf(hash)]
		case s.drop:
			way = none
			s.dropped.Add(linebuf.Count{Lines: 1, Bytes: uint64(size)})
		default:
			if keyless < 0 {
				keyless = int(s.anyLane())
			}
			way = uint16(keyless)
		}
		t.add(at, end, way)
		at = end
	}
}

// anyLane returns a lane for lines without a key, another one each time.
func (s *Source) anyLane() uint16 {
	r := s.routes
	for range r.open {
		s.turn++
		if i := r.open[s.turn%len(r.open)]; !r.ways[i].queue.full() {
			return i
		}
	}
	return r.open[s.turn%len(r.open)]
}

func (t *scratch) begin(ways int) {
	for _, i := range t.used {
		t.shares[i] = share{}
	}
	t.used, t.pieces = t.used[:0], t.pieces[:0]
	if len(t.shares) < ways {
		t.shares = make([]share, ways)
	}
}

// add adds a line.
func (t *scratch) add(from, to int, way uint16) {
	n := len(t.pieces)
	if n > 0 && t.pieces[n-1].way == way {
		t.pieces[n-1].to = to
		t.pieces[n-1].lines++
	} else {
		t.pieces = append(t.pieces, piece{from: from, to: to, lines: 1, way: way, next: -1})
	}
	if way == none {
		return
	}
	s := &t.shares[way]
	switch {
	case s.lines == 0:
		s.first, s.last = n, n
		t.used = append(t.used, way)
	case len(t.pieces) > n:
		t.pieces[s.last].next = n
		s.last = n
	}
	s.lines++
	s.size += to - from
}

// keepBlocked leaves only those lines in b whose way has no room.
func keepBlocked(b *linebuf.Buffer, t *scratch) {
	kept, lines := 0, 0
	for _, p := range t.pieces {
		if p.way != none && t.shares[p.way].blocked {
			kept += copy(b.B[kept:], b.B[p.from:p.to])
			lines += p.lines
		}
	}
	b.B, b.Lines = b.B[:kept], lines
}
