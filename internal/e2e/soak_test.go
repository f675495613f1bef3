//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

var (
	soakTime = flag.Duration("soak", 0, "how long TestSoak takes; 0: a few seconds")
	soakSeed = flag.Uint64("soak.seed", 0, "repeat the order of an earlier soak's faults; 0: another order each time")
)

// soakPlan says how long a soak takes, and how hard it is.
type soakPlan struct {
	mode, loops string        // values of these flags
	race        bool          // the program has the race detector
	warmUp      time.Duration // before the usage that the end is compared with
	work        time.Duration // after it
	hold        time.Duration // the longest time between the beginnings of two faults
	stormSize   int           // connections that are opened, and then reset, at once
	rate        int           // lines per second of each steady sender
	visitors    int           // clients that come and go, at one time
	every       time.Duration // between two lines of progress; 0: none
	seed        uint64
}

func (p soakPlan) String() string {
	name := p.mode + ", loops " + p.loops
	if p.race || testrig.Race {
		name += ", race detector"
	}
	return name
}

// The built program works for as long as -soak says, with its garbage collector at its busiest,
// while targets, clients, operators and limits make all the trouble that they can, in random order.
// Every line arrives, every undisturbed connection carries its bytes, and in the end nothing is
// left: no descriptor, goroutine, thread, line or byte.
//
// The long form takes half of its time with the program as users run it, and half with the race
// detector. In each half both modes work side by side, with event loops and without.
func TestSoak(t *testing.T) {
	testrig.SkipIfShort(t)
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	if *soakTime == 0 {
		t.Parallel()
		soakSideBySide(t, soakPlan{warmUp: 1500 * time.Millisecond, work: 2 * time.Second,
			hold: 150 * time.Millisecond, stormSize: 100, rate: 200, visitors: 2, seed: seed})
		return
	}
	fmt.Fprintf(os.Stderr, "soak: -soak %v -soak.seed %d\n", *soakTime, seed)
	half := *soakTime / 2
	plan := soakPlan{warmUp: half / 5, work: half - half/5, hold: 2 * time.Second,
		stormSize: 10_000, rate: 500, visitors: 6, every: time.Minute, seed: seed}
	t.Run("plain", func(t *testing.T) { soakSideBySide(t, plan) })
	plan.race = true
	t.Run("race", func(t *testing.T) { soakSideBySide(t, plan) })
}

// soakSideBySide runs a soak in both modes, with event loops and without, at the same time.
func soakSideBySide(t *testing.T, plan soakPlan) {
	for _, mode := range []string{"line", "connection"} {
		for _, loops := range []string{"auto", "0"} {
			t.Run(mode+"/loops-"+loops, func(t *testing.T) {
				t.Parallel()
				own := plan
				own.mode, own.loops = mode, loops
				runSoak(t, own)
			})
		}
	}
}

// soakLoad is the work that a soak makes in one mode: targets, and the clients that use them.
type soakLoad interface {
	targets() []testrig.Target // at the start
	extra() testrig.Target     // another one, which comes and goes
	faults() []soakFault       // of the targets, and others of the mode
	otherSettings() []string   // random values of some
	begin()                    // starts clients
	end()                      // returns when they have closed their connections
	flow()                     // waits until each target and each client makes progress
	settle()                   // waits until linesplit has delivered everything
	finish()                   // checks what has arrived, and ends linesplit

	startled(n int)                  // n connections that may have sent a byte are about to be reset
	breakConnections()               // resets all connections to targets of this process
	progress(testrig.Metrics) string // what has been done so far
}

// soak is one linesplit that works for a long time. It belongs to the test's goroutine.
type soak struct {
	*testrig.Stage
	soakPlan
	load     soakLoad
	file     *settingsFile
	token    string        // file with the admin token
	side     *testrig.Sink // target of other linesplits
	rng      *rand.Rand
	marks    soakMarks
	running  []runningFault // in the order in which they began
	history  []string       // the last faults
	struck   int            // faults so far
	reloads  int
	started  time.Time
	reported time.Time

	stop   chan struct{}  // closed when clients are to end
	coming sync.WaitGroup // clients that come and go
	works  uint64         // clients that were started
}

// come starts a client that visits linesplit again and again, with random numbers of its own, and
// calls leave in the end.
func (s *soak) come(visit func(*rand.Rand) error, leave func()) {
	s.works++
	rng, stop := rand.New(rand.NewPCG(s.seed, s.works)), s.stop
	s.coming.Go(func() {
		defer leave()
		for !closed(stop) {
			if err := visit(rng); err != nil {
				if s.Context().Err() == nil { // the test has not failed before
					s.Errorf("a client: %v", err)
				}
				return
			}
			time.Sleep(time.Duration(rng.Int64N(int64(s.hold / 5))))
		}
	})
}

func runSoak(t *testing.T, plan soakPlan) {
	s := &soak{soakPlan: plan, Stage: testrig.NewStage(t), started: time.Now(), reported: time.Now(),
		rng: rand.New(rand.NewPCG(plan.seed, 0))}
	t.Cleanup(func() {
		if t.Failed() {
			s.print("failed")
			t.Logf("%v: repeat the order with -soak.seed %d; the last faults:\n%s", plan, plan.seed,
				strings.Join(s.history, "\n"))
		}
	})
	if plan.mode == "line" {
		s.load = newLineLoad(s)
	} else {
		s.load = newStreamLoad(s)
	}
	s.start()
	s.workFor(plan.warmUp)
	warm := s.usage()
	s.workFor(plan.work)
	s.compare(warm)
	s.load.finish()
	s.checkLog()
}

// start starts linesplit with its settings in a file, and remembers its usage without clients.
func (s *soak) start() {
	s.side = testrig.NewSink(s.T, testrig.NewTally(), testrig.SinkOptions{})
	s.token = filepath.Join(s.TempDir(), "token")
	if err := os.WriteFile(s.token, []byte(soakToken+"\n"), 0o600); err != nil {
		s.Fatal(err)
	}
	s.file = &settingsFile{Stage: s.Stage, path: filepath.Join(s.TempDir(), "linesplit.conf")}
	s.file.write(s.settings()...)
	args := append([]string{"-config", s.file.path, "-admin-token-file", s.token, "-profiling", "-listen",
		"tcp://127.0.0.1:0"}, testrig.TLSListenerArgs()...)
	o := s.options(nil, args...)
	s.Process = testrig.StartProcess(s.T, o)
	connections := 0
	if s.mode == "line" {
		connections = soakWorkers * len(s.load.targets())
	}
	s.Baseline = testrig.WaitForUsage(s.T, s.Process, connections)
	if s.mode == "connection" {
		s.Baseline = s.Baseline.WithWaiting(len(s.Process.Listeners))
	}
}

const (
	soakToken   = "opensesame"
	soakWorkers = 4        // connections to each target, the default
	soakMemory  = 16 << 20 // bytes for lines, so few that senders have to wait
)

// options returns how to start a linesplit in the mode of the soak.
func (s *soak) options(targets []testrig.Target, args ...string) testrig.ProcessOptions {
	o := testrig.NewProcessOptions(targets, append([]string{"-mode", s.mode, "-loops", s.loops}, args...)...)
	o.Env, o.Race = []string{"GOGC=5"}, s.race
	return o
}

// settings returns the lines of the file with the settings that hold at the start, and others that
// replace or follow them.
func (s *soak) settings(others ...string) []string {
	lines := []string{fmt.Sprintf("dial-timeout %s", s.dialTimeout())}
	for _, target := range s.load.targets() {
		lines = append(lines, "target "+target.Target())
	}
	if s.mode == "line" {
		lines = append(lines, fmt.Sprintf("memory %d", soakMemory), "failback-interval 1s", "failback-probe 1s")
	} else { // longer than any target hangs, but unused pipes stay for an eighth of it
		lines = append(lines, fmt.Sprintf("linger-timeout %v", max(10*time.Second, 60*s.hold)))
	}
	return append(lines, others...)
}

// dialTimeout is another one for each reload, by which the settings in force are recognized.
func (s *soak) dialTimeout() time.Duration {
	return 5*time.Second + time.Duration(s.reloads)*time.Millisecond
}

// workFor makes clients work while faults happen, and then lets linesplit come to rest.
func (s *soak) workFor(d time.Duration) {
	s.Helper()
	s.stop = make(chan struct{})
	s.load.begin()
	halt := sync.OnceFunc(func() {
		close(s.stop)
		s.coming.Wait()
	})
	s.Cleanup(halt) // after a failure
	s.disturb(d)
	halt()
	s.load.end()
	s.load.settle()
	s.CheckLeaks()
}

// checkLog checks what linesplit has logged, when it has ended.
func (s *soak) checkLog() {
	log := s.Process.Stderr()
	for _, bad := range []string{"panic", "DATA RACE", "fatal error"} {
		if strings.Contains(log, bad) {
			_, rest, _ := strings.Cut(log, bad)
			s.Errorf("the log has %q:\n%s", bad, rest[:min(len(rest), 4<<10)])
		}
	}
	last := s.Process.LastLines(1)
	if !strings.Contains(last, `msg="drain ended"`) || strings.Contains(last, "level=ERROR") {
		s.Errorf("the last line of the log: %s", last)
	}
}
