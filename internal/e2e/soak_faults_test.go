//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"linesplit/internal/ctl"
	"linesplit/internal/testrig"
)

// soakFault is one kind of trouble.
type soakFault struct {
	name string
	// begin starts it, and returns the function that ends it, or nil if it has ended already. It
	// draws all numbers from the soak's own source, so that a seed repeats them.
	begin func() (end func())
}

// runningFault is trouble that has begun and not ended.
type runningFault struct {
	name string
	end  func()
}

// soakOverlap limits the faults at one time.
const soakOverlap = 3

// disturb makes trouble until the time is up, and each kind of it at least once. When all kinds
// have had their turn, all trouble ends, and everything has to flow again.
func (s *soak) disturb(d time.Duration) {
	s.Helper()
	faults := append(s.load.faults(), s.commonFaults()...)
	deadline := time.Now().Add(d)
	for deal := 0; deal == 0 || time.Now().Before(deadline); deal++ {
		for _, i := range s.rng.Perm(len(faults)) {
			if deal > 0 && time.Now().After(deadline) {
				break
			}
			s.strike(faults[i])
			if s.Failed() {
				s.FailNow() // a client has failed, and what the faults were is known
			}
		}
		s.calm()
	}
}

// strike begins a fault, and lets it last for a while.
func (s *soak) strike(f soakFault) {
	s.Helper()
	for len(s.running) >= soakOverlap {
		s.endOldest()
	}
	s.note("%s", f.name)
	s.struck++
	if end := f.begin(); end != nil {
		s.running = append(s.running, runningFault{f.name, end})
	}
	time.Sleep(s.upTo(s.hold))
	s.report()
}

func (s *soak) endOldest() {
	first := s.running[0]
	s.running = s.running[1:]
	s.note("end of: %s", first.name)
	first.end()
}

// calm ends all trouble, and waits until everything flows.
func (s *soak) calm() {
	s.Helper()
	for len(s.running) > 0 {
		s.endOldest()
	}
	s.reload()
	s.note("calm")
	s.load.flow()
}

// upTo returns a random time, d at most.
func (s *soak) upTo(d time.Duration) time.Duration { return time.Duration(s.rng.Int64N(int64(d))) }

// note adds to the history of faults.
func (s *soak) note(format string, args ...any) {
	const kept = 60
	s.history = append(s.history, fmt.Sprintf("%9.3f %s", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...)))
	s.history = s.history[max(0, len(s.history)-kept):]
}

// commonFaults are those of both modes.
func (s *soak) commonFaults() []soakFault {
	return []soakFault{
		{"settings change", s.changeSettings},
		{"a broken reload", s.breakSettings},
		{"a target is drained", s.drain},
		{"a target is added", s.add},
		{"connections storm", s.storm},
		{"descriptors are lacking", s.lackDescriptors},
		{"more clients than descriptors", s.crowd},
	}
}

// changeSettings reloads with other settings, until the next reload.
func (s *soak) changeSettings() func() {
	s.reload(s.load.otherSettings()...)
	return nil
}

// breakSettings reloads a file that is at fault, which changes nothing.
func (s *soak) breakSettings() func() {
	s.file.write("target 127.0.0.1:1", "dial-timeout soon")
	if _, err := s.ctl("reload"); err == nil || !strings.Contains(err.Error(), "dial-timeout") {
		s.Errorf("a broken file is reloaded: %v", err)
	}
	s.file.write(s.settings()...)
	return nil
}

// reload sends SIGHUP, and returns when the settings that the file has then are in force.
func (s *soak) reload(others ...string) {
	s.Helper()
	s.reloads++
	s.file.write(s.settings(others...)...)
	s.Process.Signal(syscall.SIGHUP)
	testrig.WaitFor(s.T, "the settings of the file are in force", func() bool {
		return strings.Contains(string(s.mustCtl("config")), `"`+s.dialTimeout().String()+`"`)
	})
}

// drain takes a target out of use until the end.
func (s *soak) drain() func() {
	all := s.load.targets()
	target := all[s.rng.IntN(len(all))].Target()
	s.change("drain", target)
	return func() { s.change("resume", target) }
}

// add adds a target, and removes it at the end.
func (s *soak) add() func() {
	extra := s.load.extra().Target()
	s.change("add", extra)
	return func() { s.change("remove", extra) }
}

// change carries out a command that another change may have made impossible.
func (s *soak) change(words ...string) {
	s.Helper()
	s.note("ctl %s", strings.Join(words, " "))
	if _, err := s.ctl(words...); err != nil && !refused(err) {
		s.Errorf("ctl %s: %v", strings.Join(words, " "), err)
	}
}

func (s *soak) mustCtl(words ...string) []byte {
	s.Helper()
	out, err := s.ctl(words...)
	if err != nil {
		s.Fatalf("ctl %s: %v", strings.Join(words, " "), err)
	}
	return out
}

// ctl runs a command of `linesplit ctl` over a connection of its own, so that none is left.
func (s *soak) ctl(words ...string) ([]byte, error) {
	s.Helper()
	client, err := ctl.NewClient(ctl.Options{Address: s.Process.Admin, Token: soakToken})
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close()
	o := operator{Stage: s.Stage, client: client}
	return o.try(words...)
}

// soakMark counts the times that something was disturbed, and tells whether it is now.
type soakMark struct{ begun, open atomic.Int64 }

func (m *soakMark) begin() { m.open.Add(1); m.begun.Add(1) }
func (m *soakMark) end()   { m.open.Add(-1) }

// soakMarks are the disturbances of each server by its name, and under 0 those of linesplit. A
// client whose connection breaks is excused if its server was disturbed meanwhile.
type soakMarks [256]soakMark

// now returns the state of all marks, for excuse.
func (m *soakMarks) now() (seen [256]int64) {
	for i := range m {
		seen[i] = m[i].begun.Load() - m[i].open.Load() // differs from begun if it is disturbed now
	}
	return seen
}

// excuse reports whether a server, or linesplit, was disturbed since then. Name 0 is any server.
func (m *soakMarks) excuse(then *[256]int64, name byte) bool {
	disturbed := func(i int) bool { return m[i].begun.Load() != then[i] }
	if name != 0 {
		return disturbed(0) || disturbed(int(name))
	}
	for i := range m {
		if disturbed(i) {
			return true
		}
	}
	return false
}

// pick returns one of several at random.
func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }
