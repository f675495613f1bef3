//go:build linux

package e2e

import (
	"maps"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// keyGroup is a group of targets with a ledger of its own.
type keyGroup struct {
	*keyLedger
	targets []*keyTarget
}

func startKeyGroup(t *testing.T) *keyGroup {
	g := &keyGroup{keyLedger: &keyLedger{t: t, keys: map[string]*keyState{}}}
	for range 2 {
		g.targets = append(g.targets, startKeyTarget(t, g.keyLedger))
	}
	return g
}

// keySenders write lines with keys until they are stopped.
type keySenders struct {
	mu   sync.Mutex // guards sent
	sent map[string]int
	stop func()
}

func startKeySenders(t *testing.T, addr string, senders, keysEach int) *keySenders {
	s := &keySenders{sent: map[string]int{}}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range senders {
		running.Go(func() {
			sendKeys(t, addr, i, keysEach, stop, func(key string, n int) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.sent[key] = n
			})
		})
	}
	s.stop = sync.OnceFunc(func() {
		close(stop)
		running.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

func (s *keySenders) lines() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, last := range s.sent {
		n += last
	}
	return n
}

// Each of two groups gets each line of each key, in order, while a target of either group shuts
// down, is killed, and is back.
func TestKeysKeepTheirOrderInEachGroup(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	main, archive := startKeyGroup(t), startKeyGroup(t)
	s.Process = s.StartLinesplit([]testrig.Target{main.targets[0], main.targets[1]}, "-key", "field:1", "-connections", "2",
		"-failback-probe", "200ms", "-failback-interval", "2s",
		"-group", "archive="+archive.targets[0].Target()+","+archive.targets[1].Target())
	s.Baseline = testrig.WaitForUsage(t, s.Process, 8)
	senders := startKeySenders(t, s.Process.Listeners[0], 2, 200)
	both := func(what string) {
		t.Helper()
		main.flow(what, nil, 1000)
		archive.flow(what, nil, 1000)
	}
	both("at the start")
	time.Sleep(1500 * time.Millisecond) // an earlier FIN is that of a target that never writes
	archive.targets[0].shutDown()
	both("while a target is down")
	archive.targets[0].start()
	archive.flow("at a target that is back", archive.targets[0], 200)
	for _, g := range []*keyGroup{main, archive} {
		g.targets[1].kill()
		both("while a target is dead")
		g.targets[1].start()
		g.flow("at a target that is back", g.targets[1], 200)
	}
	senders.stop()
	for name, g := range map[string]*keyGroup{"main": main, "archive": archive} {
		testrig.WaitFor(t, "all lines in group "+name, func() bool { return g.has(senders.sent) })
	}
	m := waitForGroups(t, s.Process, "main", "archive")
	wantGroup(t, m, "main", float64(senders.lines()), 0)
	wantGroup(t, m, "archive", float64(senders.lines()), 0)
	if n := m.Sum("linesplit_memory_bytes"); n != 0 {
		t.Errorf("%.0f bytes of memory are held at the end", n)
	}
	s.Terminate(0)
	for name, g := range map[string]*keyGroup{"main": main, "archive": archive} {
		if resent := m.Sum("linesplit_group_resent_lines_total", "group", name); float64(g.again) > resent {
			t.Errorf("group %s: %d lines came again, %.0f were resent", name, g.again, resent)
		}
		if len(g.keys) != 400 || !maps.Equal(lasts(g), senders.sent) {
			t.Errorf("group %s has %d keys", name, len(g.keys))
		}
	}
}

// lasts returns the number of the last line of each key.
func lasts(g *keyGroup) map[string]int {
	all := map[string]int{}
	for key, k := range g.keys {
		all[key] = k.last
	}
	return all
}

// In order, with targets that stay, no line of a key is lost or comes twice, in whichever group.
func TestKeysComeOnceInEachGroup(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	main, archive := startKeyGroup(t), startKeyGroup(t)
	s.Process = s.StartLinesplit([]testrig.Target{main.targets[0], main.targets[1]}, "-key", "field:1", "-connections", "2",
		"-group", "archive="+archive.targets[0].Target()+","+archive.targets[1].Target()+"?required=false")
	testrig.WaitForUsage(t, s.Process, 8)
	senders := startKeySenders(t, s.Process.Listeners[0], 2, 200)
	main.flow("at the start", nil, 4000)
	senders.stop()
	for name, g := range map[string]*keyGroup{"main": main, "archive": archive} {
		testrig.WaitFor(t, "all lines in group "+name, func() bool { return g.has(senders.sent) })
		if n := g.lines(); n != senders.lines() {
			t.Errorf("group %s: %d lines came, %d were sent", name, n, senders.lines())
		}
	}
	s.Terminate(0)
	if n := main.again + archive.again; n > 0 {
		t.Errorf("%d lines came again", n)
	}
}

// A best-effort group whose targets hang loses lines beyond its budget, while the keys of the main
// group go on.
func TestKeysWithAGroupThatHangs(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	main, archive := startKeyGroup(t), startKeyGroup(t)
	for _, x := range archive.targets {
		x.stall.Store(true)
	}
	s.Process = s.StartLinesplit([]testrig.Target{main.targets[0], main.targets[1]}, "-key", "field:1", "-connections", "1",
		"-drain-timeout", "1s", "-peer-lookup", "off", "-resend-margin", "64KiB",
		"-group", "archive="+archive.targets[0].Target()+","+archive.targets[1].Target()+"?required=false&budget=64KiB")
	testrig.WaitForUsage(t, s.Process, 4)
	senders := startKeySenders(t, s.Process.Listeners[0], 2, 200)
	dropped := func() float64 {
		return s.Process.Metrics().Sum("linesplit_group_dropped_lines_total", "group", "archive")
	}
	testrig.WaitFor(t, "lines are dropped for the group", func() bool { return dropped() > 0 })
	main.flow("while the other group hangs", nil, 2000)
	senders.stop()
	testrig.WaitFor(t, "all lines in the main group", func() bool { return main.has(senders.sent) })
	m := waitForGroups(t, s.Process, "main")
	wantGroup(t, m, "main", float64(senders.lines()), 0)
	const copies = 2 * (4<<10 + 16<<10) // each connection may copy small lines, and its part of a burst
	if n := m.Sum("linesplit_group_memory_bytes", "group", "archive"); n > 64<<10+copies {
		t.Errorf("%.0f bytes are held of 64 KiB", n)
	}
	s.Terminate(0)
}
