package delivery

import (
	"testing"
	"time"

	"linesplit/internal/lane"
	"linesplit/internal/linekey"
	"linesplit/linebuf"
)

// TestSimulationInOrder is TestSimulation with keys: lines are scattered to lanes, which machines
// deliver in order, while targets fail, come and go, and change their shares at random. Beside all
// that TestSimulation demands, whenever a line is written
//
//   - the line of its key before it comes right before it on the same connection, or it begins a
//     stretch that is repeated from there on;
//   - no other connection has lines of its key that a target may still read.
func TestSimulationInOrder(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed, true, true)
		return
	}
	seeds := *simSeeds
	if testing.Short() {
		seeds = min(seeds, 60)
	}
	for seed := *simFirst; seed < *simFirst+seeds && !t.Failed(); seed++ {
		simulate(t, seed, false, true)
	}
}

// simLanes scatters lines to the machines of a simulation.
type simLanes struct {
	s       *sim
	routes  *lane.Routes
	senders []*lane.Source
	pending []*linebuf.Buffer // what a sender waits with, or nil
	perHome int               // machines of each new target
	weights map[*simTarget]float64
	over    bool // the routes know that no more lines come

	confirmed uint64           // by machines that were dismissed
	keys      []simKey         // by number
	place     map[int]int      // of each line among those of its key
	parsed    map[*simConn]int // bytes of sent that were looked at
}

// simKey is what is known about one key.
type simKey struct {
	lines []int // numbers of those that were read from its sender
	high  int   // place of the furthest line that was written, -1: none
	conn  *simConn
	place int // of the line that was written last, over conn
	end   int // position behind it
}

const simKeys = 23

// keepOrder makes the simulation one with keys.
func (s *sim) keepOrder() {
	limit := int64(1024 << s.rng.IntN(5))
	s.frames()
	l := &simLanes{s: s, routes: lane.New(s.buffers, limit), perHome: 1 + s.rng.IntN(3), keys: make([]simKey, simKeys),
		weights: map[*simTarget]float64{}, place: map[int]int{}, parsed: map[*simConn]int{}, pending: make([]*linebuf.Buffer, 1+s.rng.IntN(3))}
	for i := range l.keys {
		l.keys[i].high = -1
	}
	for i := range l.pending { // each sender has keys of its own
		l.senders = append(l.senders, l.routes.NewSource(l.find, false, i))
	}
	s.largest = max(s.largest, int(limit))
	s.stay = s.plot != hang && s.rng.IntN(3) == 0
	s.lanes = l
}

// find returns the key of a line. The lines of key 0 have none.
func (l *simLanes) find(line []byte) (uint64, bool) {
	seq, _ := numberOf(string(line))
	k := seq % simKeys
	return linekey.HashNumber(uint64(k)), k != 0
}

// launch starts the machines of a target that gets keys from now on.
func (l *simLanes) launch(home *simTarget) {
	for range l.perHome {
		l.launchOne(home)
	}
	l.weights[home] = 1
	l.assign()
}

func (l *simLanes) launchOne(home *simTarget) {
	m := &simMachine{s: l.s, lane: l.routes.NewLane(func(bool) {})}
	m.Machine = NewInOrder(l.s.shared, m, home.Backend, len(l.s.machines), m.lane.Confirmed())
	l.s.machines = append(l.s.machines, m)
	m.Begin(time.Now())
}

// reshare gives a target another weight and another number of machines.
func (l *simLanes) reshare() {
	if l.over {
		return
	}
	x := l.s.targets[l.s.rng.IntN(len(l.s.targets))]
	wanted := 1 + l.s.rng.IntN(4)
	l.weights[x] = float64(1 + l.s.rng.IntN(5))
	l.s.say("%s: %d machines, weight %v", x.name, wanted, l.weights[x])
	for _, m := range l.s.machines {
		if m.home == x.Backend {
			if m.excess = wanted <= 0; !m.excess {
				m.want(true)
			}
			wanted--
		}
	}
	for range wanted {
		l.launchOne(x)
	}
	l.assign()
}

// leaveExcess lets machines go whose lanes are of no use any more.
func (l *simLanes) leaveExcess() {
	for _, m := range l.s.machines {
		if m.excess && l.routes.Unused(m.lane) {
			m.want(false)
		}
	}
}

// assign distributes the keys over the targets that take lines or, if there is none, over those
// that are listed.
func (l *simLanes) assign() {
	var homes, all []lane.Home
	for _, x := range l.s.targets {
		h := lane.Home{Name: x.name, Weight: l.weights[x]}
		for _, m := range l.s.machines {
			if m.home == x.Backend && !m.excess {
				h.Lanes = append(h.Lanes, m.lane)
			}
		}
		if len(h.Lanes) == 0 {
			continue
		}
		if all = append(all, h); x.Accepts() {
			homes = append(homes, h)
		}
	}
	if len(homes) == 0 {
		homes = all
	}
	l.routes.Assign(homes)
}

// pass lets senders go on.
func (l *simLanes) pass(tick bool) {
	s := l.s
	if tick {
		l.routes.Settle()
		l.leaveExcess()
	}
	waiting := false
	for i, from := range l.senders {
		if l.pending[i] == nil && !s.ended && !s.muted && s.rng.IntN(2) == 0 {
			l.pending[i] = l.buffer(i)
		}
		if b := l.pending[i]; b != nil && from.Offer(b) {
			l.pending[i] = nil
		}
		waiting = waiting || l.pending[i] != nil
	}
	if s.ended && !waiting && !l.over {
		l.over = true
		l.routes.End()
	}
}

// buffer returns some lines of a sender with keys of its own.
func (l *simLanes) buffer(sender int) *linebuf.Buffer {
	s := l.s
	b := s.buffers.MustGet(1024)
	b.Framing = s.someFraming()
	for range 1 + s.rng.IntN(8) {
		for s.seq%simKeys%len(l.senders) != sender {
			s.seq++
		}
		k := &l.keys[s.seq%simKeys]
		l.place[s.seq] = len(k.lines)
		k.lines = append(k.lines, s.seq)
		s.appendLine(b)
	}
	b.Read = time.Now()
	s.receipts.attach(b, 1)
	return b
}

// give gives the machine what its lane has.
func (l *simLanes) give(m *simMachine, now time.Time) {
	keep := m.Paused() && l.s.shared.Backends().AnyAccepts()
	for keep || m.Wants() {
		b := m.lane.Pop()
		if b == nil {
			return
		}
		l.s.note(b)
		if keep {
			m.Keep(b, now)
			continue
		}
		m.Take(b)
		return
	}
}

// wrote checks the order of the lines that have been written to a connection.
func (l *simLanes) wrote(c *simConn) {
	from, f := l.parsed[c], c.to.Target.Address.Framing
	bodies, rest := deframe(string(c.sent[from:]), f)
	for _, body := range bodies {
		from += len(enframe(body, f))
		if seq, _ := numberOf(body); seq%simKeys != 0 {
			l.judge(c, seq, from)
		}
	}
	if l.parsed[c] = from; from != len(c.sent)-len(rest) {
		l.fail("%d bytes of %q are lines", from, c.sent)
	}
}

// judge checks one line that has been written to c up to the position end.
func (l *simLanes) judge(c *simConn, seq, end int) {
	k, place := &l.keys[seq%simKeys], l.place[seq]
	switch {
	case k.conn == c && (place <= k.place || !l.refusable(k, k.place+1, place)):
		l.fail("key %d: line %d comes behind line %d of its connection to %s", seq%simKeys, place, k.place, c.to.name)
	case !l.refusable(k, k.high+1, place):
		l.fail("key %d: line %d at %s overtakes line %d", seq%simKeys, place, c.to.name, k.high+1)
	case k.conn != nil && k.conn != c && k.conn.mayRead(k.end):
		l.fail("key %d: line %d goes to %s while %s has yet to read line %d", seq%simKeys, place, c.to.name,
			k.conn.to.name, k.place)
	}
	k.conn, k.place, k.end, k.high = c, place, end, max(k.high, place)
}

// refusable reports whether all lines of a key from a place to another, if there are any, may have
// been refused.
func (l *simLanes) refusable(k *simKey, from, to int) bool {
	for place := from; place < to; place++ {
		if !l.s.mayBeRefused(k.lines[place]) {
			return false
		}
	}
	return true
}

func (l *simLanes) fail(format string, args ...any) {
	l.s.t.Errorf("seed %d: "+format, append([]any{l.s.seed}, args...)...)
}

// mayRead reports whether the process has not read up to the position, and may do so.
func (c *simConn) mayRead(end int) bool {
	return c.read < end && !c.dead && !c.over && !c.closed && c.err == nil
}

// inputOver reports whether the lane of a machine gets nothing more.
func (l *simLanes) inputOver(m *simMachine) bool { return l.over && l.routes.Finished(m.lane) }

// forget dismisses a machine whose target was removed, if its lane is not needed any more.
func (l *simLanes) forget(m *simMachine) bool {
	if !l.routes.Forget(m.lane) {
		return false
	}
	l.confirmed += m.lane.Confirmed().Load()
	return true
}

// check demands that lanes count what is confirmed and, once the lines before them are, what is
// refused.
func (l *simLanes) check(confirmed uint64) {
	n := l.confirmed
	for _, m := range l.s.machines {
		n += m.lane.Confirmed().Load()
	}
	refused := l.s.shared.Reframed().Refused.Lines
	if atEnd := l.s.shared.Retained().Lines == 0 && !l.s.stopped; n < confirmed || n > confirmed+refused || atEnd && n != confirmed+refused {
		l.fail("lanes count %d lines as done, targets %d as confirmed, %d are refused", n, confirmed, refused)
	}
}

// checkEnd demands that all lines have left their senders.
func (l *simLanes) checkEnd() {
	given := 0
	for _, k := range l.keys {
		given += len(k.lines)
	}
	if given != len(l.s.given) {
		l.fail("%d of %d lines were given to machines", len(l.s.given), given)
	}
}
