package delivery

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone, and print what happens")
	simSeeds = flag.Uint64("sim.seeds", 300, "number of seeds to simulate")
	simFirst = flag.Uint64("sim.first", 1, "first seed")
)

// TestSimulation drives machines through a model of the network with random faults: targets that
// stall, hang, vanish, reset, end in order, half-close, refuse dials, are drained, removed and
// added; changes of the settings; the end of the input at any moment. After every step the books
// balance. In the end every line has been read by a target, and no more duplicates have arrived
// than were counted.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed, true)
		return
	}
	for seed := *simFirst; seed < *simFirst+*simSeeds && !t.Failed(); seed++ {
		simulate(t, seed, false)
	}
}

func simulate(t *testing.T, seed uint64, verbose bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("seed %d: %v", seed, r)
				if verbose {
					panic(r)
				}
			}
			if t.Failed() {
				t.Logf("replay with: go test ./internal/delivery -run TestSimulation -sim.seed %d", seed)
			}
		}()
		newSim(t, seed, verbose).run()
	})
}

// sim is one simulated pool: machines, their targets, and what was sent.
type sim struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	verbose bool

	shared   *Shared
	buffers  *linebuf.Pool
	targets  []*simTarget // listed
	former   []*simTarget
	machines []*simMachine
	nTargets int

	plot     plot
	window   int64 // Settings.WindowMax
	lastTick time.Time
	seq      int
	ended    bool // the input
	stopped  bool
}

// simMachine is a machine with its driver: it makes the dials, and offers what is read.
type simMachine struct {
	*Machine
	s      *sim
	dialTo *simTarget
	dialAt time.Time // when the dial under way ends; zero: there is none
}

func newSim(t *testing.T, seed uint64, verbose bool) *sim {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &sim{t: t, seed: seed, rng: rng, verbose: verbose, buffers: linebuf.NewPool(0), lastTick: time.Now(),
		plot: plot(rng.IntN(int(numPlots))), window: simWindow}
	if s.plot == narrow {
		s.window = 2000 << rng.IntN(4)
	}
	logger := slog.New(slog.DiscardHandler)
	if verbose {
		logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s.shared = NewShared(s.buffers, discard{}, logger, rng.IntN)
	for range 1 + rng.IntN(3) {
		s.add()
	}
	s.tune()
	for range 1 + rng.IntN(3) {
		s.launch(s.targets[rng.IntN(len(s.targets))])
	}
	s.say("plot %d", s.plot)
	return s
}

type discard struct{}

func (discard) Observe(float64) {}

// plot is what happens in a simulation.
type plot int

const (
	storm    plot = iota // anything
	narrow               // anything, with small windows and estimates without error
	peaceful             // targets end in order only: nothing may be sent again
	hang                 // after some steps one target takes nothing any more, and others go on
	numPlots
)

// add lists another target.
func (s *sim) add() *simTarget {
	s.nTargets++
	name := "t" + strconv.Itoa(s.nTargets) + ":1"
	x := &simTarget{name: name, rng: s.rng, knows: knowledge(s.rng.IntN(int(numKnowledge))), answers: true,
		dialTime: time.Millisecond, rate: 1 + s.rng.IntN(200), errs: s.plot == storm,
		Backend: NewBackend(target.Address{Scheme: target.SchemeTCP, Host: name}, nil)}
	if s.plot == peaceful {
		x.rate, x.finFirst = 100, s.rng.IntN(4) == 0
	}
	s.targets = append(s.targets, x)
	s.publish()
	return x
}

func (s *sim) publish() {
	var all []*Backend
	for _, x := range s.targets {
		all = append(all, x.Backend)
	}
	s.shared.SetBackends(NewBackends(all))
}

func (s *sim) tune() {
	s.shared.SetSettings(&Settings{
		StallTimeout:     time.Duration(1+s.rng.IntN(30)) * time.Second,
		DeadTimeout:      time.Duration(3+s.rng.IntN(30)) * time.Second,
		FailbackInterval: time.Duration(1+s.rng.IntN(60)) * time.Second,
		FailbackProbe:    time.Duration(1+s.rng.IntN(10)) * time.Second,
		ResendAge:        time.Duration(3+s.rng.IntN(10)) * time.Second,
		WindowMax:        s.window,
	})
}

// simWindow is so large that no window reaches it: with estimates, the limit may cut off what
// protects unread lines.
const simWindow = 1 << 40

func (s *sim) launch(home *simTarget) {
	m := &simMachine{s: s}
	m.Machine = New(s.shared, m, home.Backend, len(s.machines))
	s.machines = append(s.machines, m)
	m.Begin(time.Now())
}

// Dial is the action of the machine.
func (m *simMachine) Dial(b *Backend) {
	if !m.dialAt.IsZero() {
		panic("two dials at a time")
	}
	if b.Target.Unhealthy() || !b.Accepts() {
		panic("a dial of a target that checks have found down, or that takes no lines")
	}
	for _, x := range append(m.s.targets, m.s.former...) {
		if x.Backend == b {
			m.dialTo, m.dialAt = x, time.Now().Add(x.dialTime)
		}
	}
}

func (s *sim) run() {
	for range 200 + s.rng.IntN(600) {
		s.step()
		if s.rng.IntN(12) == 0 {
			s.fault()
		}
		if s.stopped || s.t.Failed() {
			break
		}
	}
	if s.plot == hang && !s.ended && !s.stopped && !s.t.Failed() {
		s.hang()
	}
	if !s.ended && !s.stopped && !s.t.Failed() {
		s.halfClosers()
		s.recover()
	}
	if !s.stopped && !s.t.Failed() {
		s.finish()
	}
	s.checkEnd()
}

// live lets time pass while input trickles in.
func (s *sim) live(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until) && !s.t.Failed(); {
		s.pass(125 * time.Millisecond)
		s.check()
	}
}

// hang stops the first target, which may have been told to go as well, and demands that its lines
// reach another one.
func (s *sim) hang() {
	s.launch(s.targets[0])
	s.launch(s.add())
	s.heal()
	s.live(20 * time.Second)
	x, before := s.targets[0], s.seq
	leaves := s.rng.IntN(2) == 0
	x.rate = 0
	s.say("%s hangs; leaves %v", x.name, leaves)
	if leaves {
		s.setAccepting(x, false)
	}
	set := s.shared.Settings()
	s.live(2*set.StallTimeout + set.ResendAge + 10*time.Second)
	times := map[int]int{}
	s.receiveAll(times)
	for _, c := range x.live() { // what has arrived in full may wait until the process reads on, or dies
		s.receive(x.name, string(c.sent[:c.acked]), times)
	}
	for seq := range before {
		if times[seq] == 0 {
			s.t.Errorf("seed %d: line %d waits for a target that hangs", s.seed, seq)
			s.missing(times)
			break
		}
	}
	if n := x.Target.Connections(); leaves && n > 0 {
		s.t.Errorf("seed %d: a target that hangs has %d connections although it was drained", s.seed, n)
	}
}

// halfClosers demands that the machines stay connected to targets that half-close each connection at
// its start: such a FIN means nothing.
func (s *sim) halfClosers() {
	if s.plot != peaceful {
		return
	}
	conns := func() (n int) {
		for _, x := range s.targets {
			x.SetAccepting(true)
			n += len(x.conns)
		}
		s.publish()
		return n
	}
	conns()
	s.live(2*s.shared.Settings().FailbackInterval + 10*time.Second)
	before := conns()
	s.live(10 * time.Second)
	if n := conns() - before; n > 0 {
		s.t.Errorf("seed %d: %d connections in ten seconds to targets that half-close", s.seed, n)
	}
}

// recover heals all targets and demands that all machines go home.
func (s *sim) recover() {
	s.say("recover")
	s.heal()
	s.live(2*s.shared.Settings().FailbackInterval + 10*time.Second)
	for _, m := range s.machines {
		if m.out == nil || m.out.backend != m.home {
			s.t.Errorf("seed %d: a machine is not at home", s.seed)
		}
	}
}

func (s *sim) heal() {
	for _, x := range append(s.targets, s.former...) {
		x.heal()
		x.Target.CheckedUp()
	}
	for _, x := range s.targets {
		x.SetAccepting(true)
	}
	s.publish()
}

var steps = []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond,
	125 * time.Millisecond, time.Second}

// step lets some time pass and gives every machine what has happened.
func (s *sim) step() {
	s.pass(steps[s.rng.IntN(len(steps))])
	s.check()
}

func (s *sim) pass(d time.Duration) {
	time.Sleep(d)
	now := time.Now()
	for _, x := range append(s.targets, s.former...) {
		x.advance(now, d)
		for _, c := range x.events() {
			for _, m := range s.machines {
				if m.Watched() == c {
					m.Check(now)
				}
			}
		}
	}
	tick := now.Sub(s.lastTick) >= target.Tick
	if tick {
		s.lastTick = now
	}
	for _, m := range s.machines {
		m.act(now, tick)
	}
	s.dismiss(now)
}

// act gives the machine the events that are due and does what it asks for.
func (m *simMachine) act(now time.Time, tick bool) {
	if m.Done() {
		return
	}
	m.finishDial(now)
	if tick {
		m.Tick(now)
	}
	if at := m.Wake(); !at.IsZero() && !now.Before(at) {
		m.Due(now)
	}
	most := 4
	if m.s.plot == narrow { // more than the windows hold
		most = 40
	}
	for range 1 + m.s.rng.IntN(most) {
		if m.Wants() && !m.s.ended {
			m.Take(m.s.buffer())
		}
		if !m.write(now) {
			break
		}
	}
	if m.s.ended && !m.ended && (m.Idle() || m.Wants()) {
		m.EndInput(now)
	}
}

func (m *simMachine) finishDial(now time.Time) {
	if m.dialAt.IsZero() || now.Before(m.dialAt) {
		return
	}
	x := m.dialTo
	m.dialTo, m.dialAt = nil, time.Time{}
	m.s.say("%s: dial ends, %v", x.name, x.refuses)
	if x.refuses != nil {
		m.Dialled(x.Backend, nil, x.refuses, now)
		return
	}
	m.Dialled(x.Backend, x.accept(now), nil, now)
}

// write reports whether the connection has taken all that there was.
func (m *simMachine) write(now time.Time) bool {
	c, p := m.Writing()
	if len(p) == 0 {
		return false
	}
	n, err := c.(*simConn).Write(p)
	m.Wrote(n, err, now)
	return n == len(p)
}

// buffer returns some new lines.
func (s *sim) buffer() *linebuf.Buffer {
	lines := 1 + s.rng.IntN(8)
	b := s.buffers.MustGet(512)
	for range lines {
		b.B = strconv.AppendInt(b.B, int64(s.seq), 10)
		b.B = append(b.B, ' ')
		for range s.rng.IntN(40) {
			b.B = append(b.B, 'x')
		}
		b.B = append(b.B, '\n')
		s.seq++
	}
	b.Lines, b.Read = lines, time.Now()
	return b
}

// dismiss ends the machines of removed targets, and forgets such targets once nothing uses them.
func (s *sim) dismiss(now time.Time) {
	kept := s.machines[:0]
	for _, m := range s.machines {
		if m.Rests() && s.isFormer(m.home) && m.dialAt.IsZero() {
			m.Abort(now)
			continue
		}
		kept = append(kept, m)
	}
	clear(s.machines[len(kept):])
	s.machines = kept
}

func (s *sim) isFormer(b *Backend) bool {
	for _, x := range s.former {
		if x.Backend == b {
			return true
		}
	}
	return false
}

func (s *sim) say(format string, args ...any) {
	if s.verbose {
		s.t.Logf(time.Now().Format("05.000 ")+format, args...)
	}
}

// fault changes something at random.
func (s *sim) fault() {
	x := s.targets[s.rng.IntN(len(s.targets))]
	now := time.Now()
	n := s.rng.IntN(18)
	if s.plot == peaceful {
		n = []int{2, 2, 12, 13, 14, 17}[s.rng.IntN(6)]
	}
	s.say("%s: fault %d", x.name, n)
	switch n {
	case 0, 1:
		for _, c := range x.live() {
			c.kill()
		}
	case 2:
		for _, c := range x.live() {
			c.announceEnd(now)
		}
	case 3:
		if live := x.live(); len(live) > 0 {
			live[s.rng.IntN(len(live))].reset(syscall.ECONNRESET)
		}
	case 4, 5:
		x.rate = 0
	case 6:
		x.rate = 1 + s.rng.IntN(300)
	case 7:
		x.setBlackHole(now, !x.blackHole)
	case 8:
		x.refuses = []error{syscall.ECONNREFUSED, syscall.EMFILE}[s.rng.IntN(2)]
	case 9:
		x.finFirst = !x.finFirst
	case 10:
		x.dialTime = time.Duration(s.rng.IntN(3000)) * time.Millisecond
	case 11:
		x.heal()
	case 12:
		s.setAccepting(x, !x.Accepts())
	case 13:
		s.change(x)
	case 14:
		s.tune()
	case 15:
		for _, c := range x.live() {
			c.risingTo = now.Add(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
		}
	case 16:
		s.checkHealth(x)
	case 17:
		s.end()
	}
}

func (s *sim) setAccepting(x *simTarget, accepts bool) {
	if x.Accepts() && !accepts {
		x.drainedAt = time.Now()
	}
	x.SetAccepting(accepts)
	s.publish()
}

// change adds a target, or removes one while another is left.
func (s *sim) change(x *simTarget) {
	if s.ended {
		return
	}
	if s.rng.IntN(2) == 0 && len(s.targets) < 5 {
		s.launch(s.add())
		return
	}
	if len(s.targets) < 2 {
		return
	}
	s.setAccepting(x, false)
	for i, y := range s.targets {
		if x == y {
			s.targets = append(s.targets[:i:i], s.targets[i+1:]...)
		}
	}
	s.former = append(s.former, x)
	s.publish()
}

func (s *sim) checkHealth(x *simTarget) {
	if s.rng.IntN(2) == 0 {
		x.Target.CheckedUp()
	} else {
		x.Target.CheckedDown(syscall.EHOSTUNREACH)
	}
}

// end ends the input, or rarely stops everything.
func (s *sim) end() {
	switch s.rng.IntN(12) {
	case 0:
		s.stopped = true
		for _, m := range s.machines {
			m.Stop()
			m.Abort(time.Now())
		}
	case 1, 2:
		s.ended = true
	}
}

// patience is how long the machines may take to deliver what is left once all targets work: the
// longest timeouts, one after the other.
const patience = 5 * time.Minute

// finish heals all targets, or all but one that vanishes, and demands that everything is delivered.
func (s *sim) finish() {
	s.say("finish")
	s.heal()
	s.ended = true
	if x := s.targets[0]; len(s.targets) > 1 && s.rng.IntN(2) == 0 && s.plot != peaceful {
		x.setBlackHole(time.Now(), true)
		x.refuses = syscall.ETIMEDOUT
	}
	for until := time.Now().Add(patience); !s.done(); {
		if time.Now().After(until) {
			s.t.Errorf("seed %d: not done after %v", s.seed, patience)
			return
		}
		s.pass(25 * time.Millisecond)
	}
	now := time.Now()
	for _, m := range s.machines {
		m.Abort(now)
	}
	if n := s.shared.Retained(); n != (linebuf.Count{}) {
		s.t.Errorf("seed %d: %d lines retained at the end", s.seed, n.Lines)
	}
	if n := s.buffers.InUse(); n != 0 {
		s.t.Errorf("seed %d: %d bytes of buffers were not given back", s.seed, n)
	}
}

func (s *sim) done() bool {
	for _, m := range s.machines {
		if !m.Done() {
			return false
		}
	}
	return true
}

func (s *sim) counters() (sum Counters) {
	sum.Resent = make([]Resent, 2)
	for _, x := range append(s.targets, s.former...) {
		sum.Add(x.Counters())
	}
	return sum
}

// check is what must hold after every step.
func (s *sim) check() {
	sum, taken, retained := s.counters(), s.shared.Taken(), s.shared.Retained()
	accounted := sum.Confirmed
	accounted.Add(retained)
	if taken != accounted {
		s.t.Errorf("seed %d: taken %v, confirmed %v and retained %v", s.seed, taken, sum.Confirmed, retained)
	}
	for _, m := range s.machines {
		if len(m.leaving) > MaxLeaving {
			s.t.Errorf("seed %d: leaving %d connections", s.seed, len(m.leaving))
		}
		if m.out != nil {
			s.checkOut(m.out)
		}
	}
}

// checkOut is what must hold for a connection in use: its window is bounded, and its target has not
// been drained for longer than a tick or two.
func (s *sim) checkOut(c *outConn) {
	peer := c.conn.(*simConn)
	limit := s.window + lookWrites*512
	if peer.wasStable { // probes
		limit += max(s.window, minProbe) + s.window/4
	}
	if c.window.mem > limit {
		s.t.Errorf("seed %d: a window of %d bytes", s.seed, c.window.mem)
	}
	if !c.backend.Accepts() && !c.ending && time.Since(peer.to.drainedAt) > 2*time.Second {
		s.t.Errorf("seed %d: a drained target still gets lines", s.seed)
	}
}

// checkEnd counts what has arrived.
func (s *sim) checkEnd() {
	s.check()
	times := map[int]int{}
	total := s.receiveAll(times)
	for _, x := range append(s.targets, s.former...) {
		s.checkConns(x)
	}
	sum := s.counters()
	if s.verbose && !s.stopped {
		s.missing(times)
	}
	if uint64(len(times)) < sum.Confirmed.Lines {
		s.t.Errorf("seed %d: %d lines confirmed, %d received", s.seed, sum.Confirmed.Lines, len(times))
	}
	if s.stopped {
		return
	}
	if taken := int(s.shared.Taken().Lines); len(times) != taken {
		s.t.Errorf("seed %d: %d of %d lines received", s.seed, len(times), taken)
	}
	unacknowledged, unread := sum.Resent[0].Count, sum.Resent[1].Count
	resent := unacknowledged.Lines + unread.Lines
	if twice := uint64(total - len(times)); twice > resent {
		s.t.Errorf("seed %d: %d lines received again, %d counted as resent", s.seed, twice, resent)
	}
	if s.plot == peaceful && resent > 0 {
		s.t.Errorf("seed %d: %d lines resent though all targets ended in order", s.seed, resent)
	}
	want := sum.Confirmed
	want.Add(unread)
	if sum.Acknowledged != want {
		s.t.Errorf("seed %d: %v acknowledged, want those confirmed or resent as unread, %v", s.seed, sum.Acknowledged, want)
	}
	want.Add(unacknowledged)
	if sum.Sent != want {
		s.t.Errorf("seed %d: %v sent, want those confirmed or resent, %v", s.seed, sum.Sent, want)
	}
}

// checkConns demands that all connections are closed.
func (s *sim) checkConns(x *simTarget) {
	for i, c := range x.conns {
		if !c.closed {
			s.t.Errorf("seed %d: %s[%d] was left open", s.seed, x.name, i)
		}
	}
	if n := x.Target.Connections(); n != 0 {
		s.t.Errorf("seed %d: %s counts %d connections", s.seed, x.name, n)
	}
}

func (s *sim) receiveAll(times map[int]int) (total int) {
	for _, x := range append(s.targets, s.former...) {
		for i, c := range x.conns {
			name := fmt.Sprintf("%s[%d]", x.name, i)
			total += s.receive(name, string(c.sent[:c.read]), times)
			if c.over && c.read == len(c.sent) && c.read > 0 && c.sent[c.read-1] != '\n' {
				s.t.Errorf("seed %d: %s ended in order in the middle of a line", s.seed, name)
			}
		}
	}
	return total
}

// receive notes the whole lines at the start of what came over one connection.
func (s *sim) receive(name, stream string, times map[int]int) (n int) {
	whole := stream[:strings.LastIndexByte(stream, '\n')+1]
	for line := range strings.Lines(whole) {
		number, rest, _ := strings.Cut(line, " ")
		seq, err := strconv.Atoi(number)
		if err != nil || seq >= s.seq || strings.Trim(rest, "x") != "\n" {
			s.t.Errorf("seed %d: %s: torn line %q", s.seed, name, line)
			return n
		}
		times[seq]++
		n++
	}
	return n
}

// missing prints which lines were not received, and where they were sent to.
func (s *sim) missing(times map[int]int) {
	for i, m := range s.machines {
		s.say("machine %d of %s: out %v, leaving %d, retry %d, paused %v, full %v, moved %v", i, m.home.Target, m.out != nil, len(m.leaving), len(m.retryQueue.list), m.paused, m.full, m.moved)
		if m.out != nil {
			s.say("  at %s, window %d, ending %v, stalled %v, acked ago %v, arrived %d next %d", m.out.backend.Target, m.out.window.held.Lines, m.out.ending, m.out.stalled, time.Since(m.out.ackedAt), m.out.arrived(), m.out.next)
		}
	}
	for seq := range s.seq {
		if times[seq] > 0 {
			continue
		}
		s.say("line %d is missing", seq)
		for _, x := range append(s.targets, s.former...) {
			for i, c := range x.conns {
				if at := strings.Index("\n"+string(c.sent), fmt.Sprintf("\n%d ", seq)); at >= 0 {
					s.say("  %s[%d]: sent at %d; acked %d, read %d, knows %d, fin %v, after ours %v, dead %v, over %v, err %v",
						x.name, i, at, c.acked, c.read, x.knows, c.fin, c.afterOurs, c.dead, c.over, c.err)
				}
			}
		}
	}
}
