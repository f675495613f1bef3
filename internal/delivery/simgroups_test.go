package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/fanout"
	"linesplit/linebuf"
)

// TestSimulationOfGroups is TestSimulation with several groups of targets, each of which gets each
// line: a real fan-out gives the buffers to machines of each group, which share their memory.
// Targets of each group fail on their own. Beside all that TestSimulation demands of each group
//
//   - what the senders have handed over is, in each group, with machines, in its queue or dropped;
//   - a group is charged with the memory that it holds, and all groups together hold what is in
//     use;
//   - required groups drop nothing, the others just what is beyond their budget;
//   - a best-effort group that hangs holds up neither senders nor other groups.
func TestSimulationOfGroups(t *testing.T) {
	seeds, first := *simSeeds/6, *simFirst
	if *simSeed != 0 {
		seeds, first = 1, *simSeed
	} else if testing.Short() {
		seeds = min(seeds, 20)
	}
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		replayable(t, seed, *simSeed != 0, func(t *testing.T) { newSimGroups(t, seed, *simSeed != 0).run() })
	}
}

// simGroups is a simulated fan-out: the groups, and the senders that feed them.
type simGroups struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	verbose bool

	buffers  *linebuf.Pool
	largest  int // buffer in bytes
	fan      *fanout.Fanout
	lines    chan *linebuf.Buffer
	hard     context.CancelFunc
	fanned   chan struct{} // closed when the fan-out has ended
	groups   []*simGroup
	senders  []*groupSender
	lineNos  simRecords // made by senders
	receipts *simReceipts
	sent     linebuf.Count // handed over to the fan-out
	over     bool
}

// simGroup is one group: its machines and targets are those of a simulation of its own.
type simGroup struct {
	*fanout.Group
	of   *simGroups
	sim  *sim
	over bool // the queue is closed and empty
	hung bool // its targets take nothing until the end
}

// groupSender is a sender that hands over a buffer at a time.
type groupSender struct {
	outlet  fanout.Outlet
	pending *linebuf.Buffer // waits for the fan-out; nil: none
}

func newSimGroups(t *testing.T, seed uint64, verbose bool) *simGroups {
	rng := rand.New(rand.NewPCG(seed, 1))
	g := &simGroups{t: t, seed: seed, rng: rng, verbose: verbose, largest: 512 << rng.IntN(4), receipts: newSimReceipts(seed)}
	limit := int64(g.largest) << (5 + rng.IntN(5))
	g.buffers = linebuf.NewPool(limit)
	first := &sim{rng: rng} // whether lines have several framings holds for all groups
	first.frames()
	g.lineNos.framed = first.framed
	var options []fanout.Options
	for i := range 2 + rng.IntN(2) {
		options = append(options, fanout.Options{Name: fmt.Sprint(i), Required: i == 0 || rng.IntN(3) == 0,
			Budget: min(512*int64(1+rng.IntN(64)), limit/4), Queue: rng.IntN(4)})
	}
	g.lines = make(chan *linebuf.Buffer, rng.IntN(3))
	for i := range options {
		s := &sim{t: t, seed: seed, rng: rng, verbose: verbose, buffers: g.buffers, lastTick: time.Now(),
			prefix: fmt.Sprintf("g%d", i), plot: plot(rng.IntN(int(numPlots))), window: simWindow, simKept: g.receipts.of(i),
			simRecords: simRecords{lines: map[int]simRecord{}, forms: map[int]map[string]bool{}, framed: first.framed, rules: first.rules}}
		s.largest, s.group = max(g.largest, 4096), &simGroup{of: g, sim: s}
		s.start()
		g.groups = append(g.groups, s.group)
	}
	g.begin(options)
	return g
}

// begin starts the fan-out, and makes the senders.
func (g *simGroups) begin(options []fanout.Options) {
	g.fan = fanout.New(g.buffers, options, g.groups[0].sim.logger())
	for i, group := range g.fan.Groups() {
		g.groups[i].Group = group
	}
	hard, cancel := context.WithCancel(context.Background())
	g.hard, g.fanned = cancel, make(chan struct{})
	go func() {
		defer close(g.fanned)
		g.fan.Run(hard, hard, g.lines)
	}()
	for range 1 + g.rng.IntN(3) {
		x := &groupSender{}
		if g.rng.IntN(3) > 0 { // the others use the channel alone
			var outlets []fanout.Outlet
			for _, group := range g.groups {
				outlets = append(outlets, group)
			}
			x.outlet = g.fan.NewOutlet(outlets)
		}
		g.senders = append(g.senders, x)
	}
}

func (g *simGroups) fail(format string, args ...any) {
	g.t.Errorf("seed %d: "+format, append([]any{g.seed}, args...)...)
}

func (g *simGroups) run() {
	defer func() {
		g.hard()
		<-g.fanned
	}()
	for range 50 + g.rng.IntN(250) {
		g.pass(steps[g.rng.IntN(len(steps))])
		if g.rng.IntN(8) == 0 {
			g.groups[g.rng.IntN(len(g.groups))].sim.fault()
		}
		if g.t.Failed() {
			return
		}
	}
	g.hang()
	switch {
	case g.t.Failed():
	case g.receipts.keeps && g.receipts.rng.IntN(3) == 0:
		g.stop()
	default:
		g.finish()
	}
}

// pass lets time pass, senders hand over, machines act, and checks everything.
func (g *simGroups) pass(d time.Duration) {
	time.Sleep(d)
	now := time.Now()
	for _, x := range g.senders {
		for more := true; more && g.rng.IntN(4) > 0; {
			more = g.handOver(x)
		}
	}
	for _, group := range g.groups {
		group.sim.passed(now, d)
	}
	g.check()
}

// handOver lets a sender hand over a buffer. It reports whether the sender need not wait.
func (g *simGroups) handOver(x *groupSender) bool {
	if x.pending == nil {
		if x.pending = g.read(); x.pending == nil {
			return false
		}
		if b := x.pending; x.outlet != nil && g.offer(x.outlet, b) {
			x.pending = nil
			return true
		}
	}
	took := false
	b := x.pending
	lines := b.Count()
	g.judged(0, func() {
		select {
		case g.lines <- b:
			took = true
			g.sent.Add(lines)
		default:
		}
	})
	if took {
		x.pending = nil
	}
	return took
}

// read returns new lines, or nil without memory for them, or if no more come.
func (g *simGroups) read() *linebuf.Buffer {
	if g.over {
		return nil
	}
	b := g.buffers.TryGet(min(512<<g.rng.IntN(4), g.largest))
	if b == nil {
		return nil
	}
	s := &sim{rng: g.rng, simRecords: g.lineNos}
	b.Framing, b.Read = s.someFraming(), time.Now()
	for fill := g.rng.IntN(cap(b.B)); ; {
		if s.appendLine(b); len(b.B) >= fill || len(b.B) > cap(b.B)-100 {
			g.lineNos.seq = s.seq
			g.receipts.attach(b, g.required())
			return b
		}
	}
}

// offer offers a buffer to the outlet of a sender.
func (g *simGroups) offer(to fanout.Outlet, b *linebuf.Buffer) (took bool) {
	n, size := b.Count(), int64(cap(b.B))
	g.judged(size, func() {
		if took = to.Offer(b); took {
			g.sent.Add(n)
		}
	})
	return took
}

// judged does something that may give buffers to groups, and demands that what is dropped is beyond
// the budget. size is that of the one buffer, if it is given at once or not at all: the groups may
// give memory back then, but only after that is decided.
func (g *simGroups) judged(size int64, do func()) {
	type state struct {
		held    int64
		dropped linebuf.Count
	}
	var before []state
	for _, group := range g.groups {
		before = append(before, state{group.Held(), group.Dropped()})
	}
	do()
	synctest.Wait()
	for i, group := range g.groups {
		dropped := group.Dropped() != before[i].dropped
		held, more := group.Held(), int64(g.largest)
		if size > 0 {
			held, more = before[i].held, size
		}
		if dropped && (group.Required || held == 0 || held+more <= group.Budget) {
			g.fail("group %d drops lines: %d bytes held, %d more, a budget of %d, required: %v", i, held, more, group.Budget,
				group.Required)
		}
	}
}

// Offer implements [fanout.Outlet]: a machine that has nothing else to do takes the buffer.
func (x *simGroup) Offer(b *linebuf.Buffer) bool {
	if x.of.rng.IntN(3) == 0 {
		return false
	}
	for _, m := range x.sim.machines {
		if m.Wants() && !m.Done() {
			x.sim.give(m, b)
			m.write(time.Now())
			return true
		}
	}
	return false
}

// next returns the next buffer of the queue, or nil.
func (x *simGroup) next() (b *linebuf.Buffer) {
	x.of.judged(0, func() {
		select {
		case view, more := <-x.Lines():
			b, x.over = view, !more
		default:
		}
	})
	return b
}

// live lets time pass.
func (g *simGroups) live(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until) && !g.t.Failed(); {
		g.pass(125 * time.Millisecond)
	}
}

// hang stops all targets of a best-effort group, if there is one, and demands that the other groups
// get lines as before.
func (g *simGroups) hang() {
	var x *simGroup
	for _, group := range g.groups {
		if !group.Required {
			x = group
		}
	}
	if x == nil || g.rng.IntN(2) == 0 {
		return
	}
	for _, group := range g.groups {
		group.sim.heal()
	}
	x.stop(g.rng.IntN(2) == 0)
	g.live(time.Minute)
	for range 2 {
		before := g.sent
		g.live(10 * time.Second)
		if !g.t.Failed() && g.sent.Lines < before.Lines+10 {
			g.fail("%d lines in ten seconds beside a best-effort group that hangs", g.sent.Lines-before.Lines)
		}
	}
}

// stop makes all targets of a group hang, or crash and stay away.
func (x *simGroup) stop(crash bool) {
	x.hung = true
	if x.sim.plot == peaceful {
		x.sim.plot = storm
	}
	for _, t := range x.sim.targets {
		t.rate = 0
		for _, c := range t.live() {
			c.recvBuf = min(c.recvBuf, c.acked-c.read+4000)
			if crash {
				c.kill()
			}
		}
		if crash {
			t.refuses = syscall.ECONNREFUSED
		}
	}
}

// finish ends the input, heals the targets, but those of a group that hangs in half of the cases,
// and demands that everything is delivered.
func (g *simGroups) finish() {
	stays := g.rng.IntN(2) == 0
	for _, x := range g.groups {
		if x.hung = x.hung && stays; !x.hung {
			x.sim.heal()
		}
	}
	g.end()
	for until := time.Now().Add(patience); !g.done() && !g.t.Failed(); {
		if time.Now().After(until) {
			g.fail("not done after %v", patience)
			return
		}
		g.pass(25 * time.Millisecond)
	}
	for _, x := range g.groups {
		if x.hung {
			x.Abandon()
			x.sim.stopped = true
		}
		for _, m := range x.sim.machines {
			m.Abort(time.Now())
		}
	}
	g.checkEnd()
}

// end ends the input once senders have handed over what they have.
func (g *simGroups) end() {
	g.over = true
	for until := time.Now().Add(patience); !g.t.Failed(); {
		waiting := false
		for _, x := range g.senders {
			waiting = waiting || x.pending != nil
		}
		if !waiting {
			break
		}
		if time.Now().After(until) {
			g.fail("senders wait for %v although the targets of required groups work", patience)
		}
		g.pass(25 * time.Millisecond)
	}
	close(g.lines)
	synctest.Wait()
}

// done reports whether all groups but those that hang have delivered everything.
func (g *simGroups) done() bool {
	for _, x := range g.groups {
		if !x.hung && !x.sim.done() {
			return false
		}
	}
	return true
}
