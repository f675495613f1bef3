package delivery

import (
	"math/rand/v2"
	"time"

	"linesplit/linebuf"
)

// This file gives receipts to the lines of a simulation, as a spool does, and takes back what is
// not confirmed when delivery is stopped.

// simReceipts is what a simulation knows about receipts. Groups of one simulation share it.
type simReceipts struct {
	rng    *rand.Rand // of its own: what it draws changes nothing else
	share  int        // of four buffers, how many have a receipt
	keeps  bool       // what is not confirmed at a stop is handed over
	all    []*simReceipt
	byLine map[int]*simReceipt // by the number of the line
	fresh  [linebuf.MaxGroups][]*simReceipt
	faults []string
}

// simReceipt is a spool's record of the lines of one buffer.
type simReceipt struct {
	linebuf.Receipt
	of       *simReceipts
	lines    []int
	groups   linebuf.Groups
	released linebuf.Groups
}

// simKept is what one group has handed over when it was stopped, and what its targets have read.
type simKept struct {
	receipts *simReceipts
	index    int // of the group
	kept     []*linebuf.Buffer
	wasRead  map[int]bool     // lines, as of the last look
	readTo   map[*simConn]int // bytes that were looked at
}

func newSimReceipts(seed uint64) *simReceipts {
	rng := rand.New(rand.NewPCG(seed, 3))
	return &simReceipts{rng: rng, share: []int{0, 2, 4}[rng.IntN(3)], keeps: rng.IntN(3) > 0, byLine: map[int]*simReceipt{}}
}

func (r *simReceipts) of(index int) simKept {
	return simKept{receipts: r, index: index, wasRead: map[int]bool{}, readTo: map[*simConn]int{}}
}

// attach gives a buffer a receipt for some groups, or not.
func (r *simReceipts) attach(b *linebuf.Buffer, groups linebuf.Groups) {
	if r.rng.IntN(4) >= r.share {
		return
	}
	x := &simReceipt{of: r, groups: groups}
	x.Init(x)
	bodies, _ := deframe(string(b.B), b.Framing)
	for _, body := range bodies {
		seq, _ := numberOf(body)
		x.lines = append(x.lines, seq)
		r.byLine[seq] = x
	}
	r.all = append(r.all, x)
	b.Attach(&x.Receipt, groups)
}

// Released implements [linebuf.Issuer].
func (x *simReceipt) Released(_ *linebuf.Receipt, group int) {
	r, bit := x.of, linebuf.Groups(1)<<group
	if x.groups&bit == 0 || x.released&bit != 0 {
		r.faults = append(r.faults, "a receipt is released twice, or for a group that has none of its lines")
	}
	x.released |= bit
	r.fresh[group] = append(r.fresh[group], x)
}

// covers reports whether a line has a receipt for a group.
func (r *simReceipts) covers(seq, group int) bool {
	x := r.byLine[seq]
	return x != nil && x.groups&(1<<group) != 0
}

// keepLeftovers makes machines hand over what they have not confirmed when they are stopped.
func (s *sim) keepLeftovers() {
	if s.receipts.keeps {
		s.shared.SetKeep(func(b *linebuf.Buffer) { s.kept = append(s.kept, b) })
	}
}

// checkReceipts demands that all lines of the receipts that were released since the last call were
// read by a target, or refused.
func (s *sim) checkReceipts() {
	r := s.receipts
	for _, fault := range r.faults {
		s.t.Errorf("seed %d: %s", s.seed, fault)
	}
	fresh := r.fresh[s.index]
	r.fresh[s.index], r.faults = nil, nil
	if len(fresh) > 0 {
		s.noteRead()
	}
	for _, x := range fresh {
		for _, seq := range x.lines {
			if !s.wasRead[seq] && !s.mayBeRefused(seq) {
				s.t.Errorf("seed %d: the receipt of line %d is released, and no target has read it", s.seed, seq)
				return
			}
		}
	}
}

// noteRead notes which lines targets have read since the last call.
func (s *sim) noteRead() {
	for _, x := range s.all() {
		f := x.Target.Address.Framing
		for _, c := range x.conns {
			bodies, rest := deframe(string(c.sent[s.readTo[c]:c.read]), f)
			s.readTo[c] = c.read - len(rest)
			for _, body := range bodies {
				if seq, err := numberOf(body); err == nil {
					s.wasRead[seq] = true
				}
			}
		}
	}
}

// checkReleased demands that each receipt was released for the group.
func (s *sim) checkReleased() {
	if n := s.shared.Kept(); n != (linebuf.Count{}) {
		s.t.Errorf("seed %d: %v are handed over without a stop", s.seed, n)
	}
	for _, x := range s.receipts.all {
		if left := x.groups &^ x.released & (1 << s.index); left != 0 {
			s.t.Errorf("seed %d: the receipt of lines %v was not released", s.seed, x.lines)
			return
		}
	}
}

// stop ends delivery at once.
func (s *sim) stop() {
	now := time.Now()
	s.say("stop; keeps what is left: %v", s.receipts.keeps)
	s.stopped = true
	for _, m := range s.machines {
		m.Stop()
		m.Abort(now)
	}
	if s.lanes != nil {
		s.lanes.stop()
	}
	s.abortSenders(now)
}

// stop takes what is left in lanes, and what senders wait with.
func (l *simLanes) stop() {
	if l.s.receipts.keeps {
		for _, b := range l.routes.TakeAll() {
			l.s.note(b)
			l.s.shared.Leave(b)
		}
	}
	for i, b := range l.pending {
		if b != nil {
			b.Forsake()
			l.s.buffers.Put(b)
			l.pending[i] = nil
		}
	}
}

// checkKept demands of what was handed over at a stop, where times says how often targets have read
// each line:
//
//   - the lines that machines had are there, once each and in whole buffers, or a target has read
//     them;
//   - those of one key are in order;
//   - no receipt of a line that is there was released;
//   - lines with a receipt, which the spool has, are not in one buffer with others.
func (s *sim) checkKept(times map[int]int) {
	if !s.receipts.keeps {
		return
	}
	kept, n := map[int]int{}, 0
	for _, b := range s.kept {
		lines := s.receive("a stop", string(b.B), b.Framing, kept)
		if n += lines; lines != b.Lines || lines == 0 {
			s.t.Errorf("seed %d: a buffer that is handed over counts %d lines, and has %d", s.seed, b.Lines, lines)
		}
		s.checkKeptBuffer(b)
	}
	if got := s.shared.Kept().Lines; got != uint64(n) || s.shared.Retained() != (linebuf.Count{}) {
		s.t.Errorf("seed %d: %d lines are handed over, %d counted, %v retained", s.seed, n, got, s.shared.Retained())
	}
	for _, seq := range s.given {
		if kept[seq] > 1 || kept[seq]+times[seq] == 0 && !s.mayBeRefused(seq) {
			s.t.Errorf("seed %d: line %d is handed over %d times and was read %d times", s.seed, seq, kept[seq], times[seq])
			return
		}
	}
	if s.lanes != nil {
		s.lanes.checkKeptOrder()
	}
	s.giveBackKept(kept)
}

func (s *sim) checkKeptBuffer(b *linebuf.Buffer) {
	bodies, _ := deframe(string(b.B), b.Framing)
	for _, body := range bodies {
		seq, _ := numberOf(body)
		if s.receipts.covers(seq, s.index) != b.Kept() {
			s.t.Errorf("seed %d: line %d is in a buffer that has receipts: %v", s.seed, seq, b.Kept())
		}
		if s.receipts.covers(seq, s.index) && s.receipts.byLine[seq].released&(1<<s.index) != 0 {
			s.t.Errorf("seed %d: the receipt of line %d, which is not confirmed, was released", s.seed, seq)
		}
	}
}

// giveBackKept puts back what was handed over, as if it had been written to another place, or
// forsakes it, and demands that receipts are released, or not.
func (s *sim) giveBackKept(kept map[int]int) {
	forsakes := s.receipts.rng.IntN(2) == 0
	for _, b := range s.kept {
		if forsakes {
			b.Forsake()
		}
		s.buffers.Put(b)
	}
	for _, seq := range s.given {
		x := s.receipts.byLine[seq]
		if x == nil || x.groups&(1<<s.index) == 0 {
			continue
		}
		released := x.released&(1<<s.index) != 0
		needed := forsakes && kept[seq] > 0 || !s.allGiven(x)
		if released && needed || !released && !needed && !forsakes {
			s.t.Errorf("seed %d: after a stop, the receipt of line %d is released: %v; forsaken: %v", s.seed, seq,
				released, forsakes)
			break
		}
	}
	s.kept, s.receipts.fresh[s.index] = nil, nil
	s.checkReceipts()
}

// allGiven reports whether machines were given all lines of a receipt. Otherwise their sender had
// some of them, and has forsaken them.
func (s *sim) allGiven(x *simReceipt) bool {
	for _, seq := range x.lines {
		if _, given := s.lines[seq]; !given {
			return false
		}
	}
	return true
}

// checkKeptOrder demands that the lines of a key are handed over in the order in which they came.
func (l *simLanes) checkKeptOrder() {
	last := map[int]int{}
	for _, b := range l.s.kept {
		bodies, _ := deframe(string(b.B), b.Framing)
		for _, body := range bodies {
			seq, _ := numberOf(body)
			key := seq % simKeys
			if before, any := last[key]; key != 0 && any && l.place[seq] < before {
				l.fail("key %d: line %d is handed over behind line %d", key, l.place[seq], before)
			}
			last[key] = l.place[seq]
		}
	}
}

// stop ends the delivery of all groups at once, and demands that each group has handed over what it
// has not confirmed.
func (g *simGroups) stop() {
	for _, x := range g.groups {
		x.sim.stopped = true
		for _, m := range x.sim.machines {
			m.Stop()
			m.Abort(time.Now())
		}
	}
	g.hard()
	<-g.fanned
	g.fan.TakeRest(g.lines)
	for _, x := range g.senders {
		if x.pending != nil {
			x.pending.Forsake()
			g.buffers.Put(x.pending)
		}
	}
	for i, x := range g.groups {
		for _, b := range x.Rest() {
			x.sim.note(b)
			x.sim.shared.Leave(b)
		}
		known := x.sim.shared.Taken()
		known.Add(x.Dropped())
		if known != g.sent {
			g.fail("group %d: %v taken, handed over or dropped, %v sent", i, known, g.sent)
		}
		x.sim.checkEnd()
	}
	if n := g.buffers.InUse(); n != 0 {
		g.fail("%d bytes of buffers were not given back", n)
	}
}

// required returns the groups that hold lines until they confirm them.
func (g *simGroups) required() (all linebuf.Groups) {
	for i, x := range g.groups {
		if x.Required {
			all |= 1 << i
		}
	}
	return all
}
