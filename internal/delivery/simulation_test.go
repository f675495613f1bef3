package delivery

import (
	"flag"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/intake"
	"linesplit/linebuf"
	"linesplit/target"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone, and print what happens")
	simSeeds = flag.Uint64("sim.seeds", defaultSeeds, "number of seeds to simulate")
	simFirst = flag.Uint64("sim.first", 1, "first seed")
)

// TestSimulation drives machines through a model of the network with random faults: targets that
// stall, hang, vanish, reset, end in order, half-close, refuse dials, are drained, removed and
// added; no descriptors for dials; changes of the settings and of the machines that are wanted; the
// end of the input at any moment. In a third of the seeds some targets are backups.
//
// Half of the seeds have senders, whose bytes come to the machines through the streams of
// internal/intake, a gate, a queue and a common memory budget: lines that are too long, ends in
// mid-line, resets, pauses, timeouts, shortage of memory, a drain. In half of the others, lines
// come and go in different framings and contain newlines and NUL bytes, under each rule for those.
//
// Buffers have receipts, or not. No receipt is released before targets have read its lines, and in
// the end each was released once. Some simulations are stopped in the middle: what is not confirmed
// then is handed over.
//
// After every step the books balance: of lines, bytes and memory. In the end the streams have cut
// and dropped what the rules for lines say, every line that they have cut has been read by a
// target, whole, rewritten as the rules say, and no more duplicates have arrived than were counted.
// Lines that a framing cannot hold are refused, those alone, and counted.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed, true, false)
		return
	}
	seeds := *simSeeds
	if testing.Short() {
		seeds = min(seeds, 60)
	}
	for seed := *simFirst; seed < *simFirst+seeds && !t.Failed(); seed++ {
		simulate(t, seed, false, false)
	}
}

func simulate(t *testing.T, seed uint64, verbose, inOrder bool) {
	t.Helper()
	replayable(t, seed, verbose, func(t *testing.T) { newSim(t, seed, verbose, inOrder).run() })
}

// replayable runs a simulation in a bubble, and says how to repeat one that fails.
func replayable(t *testing.T, seed uint64, verbose bool, run func(*testing.T)) {
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
				name, _, _ := strings.Cut(t.Name(), "/")
				t.Logf("replay with: go test ./internal/delivery -run '^%s$' -sim.seed %d", name, seed)
			}
		}()
		run(t)
	})
}

// sim is one simulated pool: machines, their targets, and what was sent.
type sim struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	verbose bool
	prefix  string // of the names of targets

	shared   *Shared
	buffers  *linebuf.Pool
	targets  []*simTarget // listed
	former   []*simTarget
	machines []*simMachine
	nTargets int

	plot      plot
	window    int64 // Settings.WindowMax
	widest    int64 // the greatest so far: a reload may lower it
	lastTick  time.Time
	exhausted bool // no descriptor is left
	muted     bool // no input comes for now
	ended     bool // the input
	stopped   bool

	simRecords
	simKept
	simFeed
	lanes *simLanes // nil: lines have no keys
	group *simGroup // nil: there is one group only
	stay  bool      // Settings.StayHome
	simBackups
}

// simFeed is where input comes from if senders write it.
type simFeed struct {
	fed     bool // they do
	plenty  bool // there is memory for all lines at once
	streams *intake.Shared
	senders []*simSender
	acting  *simSender
	cutAt   time.Time // when senders that have not ended are cut off

	limits     intake.Limits
	idle, slow time.Duration // timeouts

	cutLines int // by streams, in all
	queue    []*linebuf.Buffer
	queueCap int
	handing  []*simSender // wait for the queue
	gateFree int
	gateLine []*simSender // wait for the gate

	longestLine int // Limits.MaxLine at most
	largest     int // buffer of whole lines
	maxPace     int
}

func newSim(t *testing.T, seed uint64, verbose, inOrder bool) *sim {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &sim{t: t, seed: seed, rng: rng, verbose: verbose, buffers: linebuf.NewPool(0), lastTick: time.Now(),
		plot: plot(rng.IntN(int(numPlots))), window: simWindow, simKept: newSimReceipts(seed).of(0),
		simRecords: simRecords{lines: map[int]simRecord{}, forms: map[int]map[string]bool{}}}
	s.largest = 512
	switch {
	case inOrder:
		s.keepOrder()
	case rng.IntN(2) == 0:
		s.feeds()
	default:
		s.frames()
	}
	s.start()
	if inOrder {
		for _, x := range s.targets {
			s.lanes.launch(x)
		}
	}
	s.say("plot %d, fed by senders %v", s.plot, s.fed)
	return s
}

// start makes the first targets and machines.
func (s *sim) start() {
	s.shared = NewShared(s.buffers, discard{}, s.logger(), s.rng.IntN)
	s.keepLeftovers()
	s.mixed = s.rng.IntN(3) == 0 && s.lanes == nil
	for range 1 + s.rng.IntN(3) {
		s.add()
	}
	s.tune()
	for range 1 + s.rng.IntN(3) {
		s.launch(s.targets[s.rng.IntN(len(s.targets))])
	}
	s.launchAll()
}

func (s *sim) logger() *slog.Logger {
	if !s.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type discard struct{}

func (discard) Observe(float64) {}

// plot names the kind of a simulation.
type plot int

const (
	storm    plot = iota // anything
	narrow               // anything, with small windows and estimates without error
	peaceful             // targets end in order only: nothing may be sent again
	hang                 // after some steps one target takes nothing any more, and others go on
	numPlots
)

// add lists another target, perhaps a backup, but not as the only one.
func (s *sim) add() *simTarget { return s.addAs(s.mixed && len(s.targets) > 0 && s.rng.IntN(2) == 0) }

func (s *sim) addAs(backup bool) *simTarget {
	s.nTargets++
	name := s.prefix + "t" + strconv.Itoa(s.nTargets) + ":1"
	age := time.Duration(s.rng.IntN(3)) * target.MinAge // of connections; 0: no limit
	x := &simTarget{name: name, rng: s.rng, knows: knowledge(s.rng.IntN(int(numKnowledge))), answers: true,
		dialTime: time.Millisecond, rate: 1 + s.rng.IntN(200), errs: s.plot == storm, little: s.rng.IntN(2) == 0,
		Backend: NewBackend(target.Address{Scheme: target.SchemeTCP, Host: name, MaxAge: age, Backup: backup,
			Framing: s.someFraming()}, nil)}
	if s.plot == peaceful {
		x.rate, x.finFirst = 100, s.rng.IntN(4) == 0
	}
	s.targets = append(s.targets, x)
	s.publish()
	return x
}

// all returns the targets that are listed and those that were.
func (s *sim) all() []*simTarget { return slices.Concat(s.targets, s.former) }

func (s *sim) publish() {
	var all []*Backend
	for _, x := range s.targets {
		all = append(all, x.Backend)
	}
	s.shared.SetBackends(NewBackends(all))
	if s.lanes != nil {
		s.lanes.assign()
	}
}

func (s *sim) tune() {
	if s.plot == narrow {
		s.window = 2000 << s.rng.IntN(4)
	}
	s.widest = max(s.widest, s.window)
	stall := time.Duration(1+s.rng.IntN(30)) * time.Second
	if s.plot == peaceful { // looks that are a second apart are no stall
		stall += 2 * time.Second
	}
	s.shared.SetSettings(&Settings{
		StallTimeout:     stall,
		DeadTimeout:      time.Duration(3+s.rng.IntN(30)) * time.Second,
		FailbackInterval: time.Duration(1+s.rng.IntN(60)) * time.Second,
		FailbackProbe:    time.Duration(1+s.rng.IntN(10)) * time.Second,
		ResendAge:        minResendAge + time.Duration(s.rng.IntN(10))*time.Second,
		WindowMax:        s.window,
		StayHome:         s.stay,
		Embedded:         s.someRule(),
	})
	if s.fed {
		s.tuneIntake()
	}
}

// minResendAge is the least resend age of the simulation.
const minResendAge = 3 * time.Second

// simWindow is so large that no window reaches it: with estimates, the limit may cut off what
// protects unread lines.
const simWindow = 1 << 40

func (s *sim) launch(home *simTarget) {
	if s.lanes != nil {
		return // see simLanes.launch
	}
	m := &simMachine{s: s}
	m.Machine = New(s.shared, m, home.Backend, len(s.machines))
	s.machines = append(s.machines, m)
	m.Begin(time.Now())
}

func (s *sim) run() {
	defer s.hangUp()
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
	switch {
	case s.stopped || s.t.Failed():
	case s.receipts.rng.IntN(8) == 0:
		s.stop()
	default:
		s.finish()
	}
	s.checkEnd()
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
	s.passed(time.Now(), d)
}

// passed is called when the time d has passed.
func (s *sim) passed(now time.Time, d time.Duration) {
	for _, x := range s.all() {
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
	if s.lanes != nil {
		s.lanes.pass(tick)
	}
	s.passSenders(now, d)
}

// input returns the next buffer for a machine, nil if there is none.
func (s *sim) input(now time.Time) *linebuf.Buffer {
	switch {
	case s.muted:
		return nil
	case s.group != nil:
		return s.group.next()
	case s.fed:
		return s.next(now)
	case s.ended:
		return nil
	}
	return s.buffer()
}

// inputOver reports whether no more input comes.
func (s *sim) inputOver() bool {
	if s.group != nil {
		return s.group.over
	}
	return s.ended && len(s.senders) == 0 && len(s.queue) == 0
}

func (s *sim) say(format string, args ...any) {
	if s.verbose {
		s.t.Logf(time.Now().Format("05.000 ")+format, args...)
	}
}
