//go:build linux

package e2e

import (
	"fmt"
	"sync"
	"testing"

	"linesplit/internal/testrig"
)

// renewals returns how often connections are renewed in a test: fifty times with -changes 50.
func renewals() int {
	if *changes < 50 {
		return 1
	}
	return *changes
}

// expectQuiet checks that the renewals of connections went in order, so that the log warns of
// nothing.
func expectQuiet(s *testrig.Stage) {
	s.Helper()
	if n := s.CountLogLines("level=WARN") + s.CountLogLines("level=ERROR"); n > 0 {
		s.Errorf("%d warnings:\n%s", n, s.Process.LastLines(30))
	}
}

// awaitRenewals waits until each of n connections to a target was renewed as often as renewals
// says.
func awaitRenewals(s *testrig.Stage, accepted func() int, n int) {
	s.Helper()
	for round := range renewals() {
		testrig.WaitFor(s, fmt.Sprintf("renewal %d", round+1), func() bool { return accepted() >= n*(round+2) })
	}
}

// Connections that have a greatest age are renewed under load, and nothing is lost or sent twice.
func TestConnectionsAreRenewed(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{testrig.WithOptions(a, "max-age=5s"), b}, "-connections", "2")
	s.StartSenders(2, testrig.SenderOptions{Rate: *changesRate})
	awaitRenewals(s, a.Accepted, 2)
	s.WaitForLines(a, 400)
	s.StopSenders()
	if b.Accepted() != 2 {
		t.Errorf("a target without a greatest age has had %d connections", b.Accepted())
	}
	expectQuiet(s)
	s.FinishLineMode(testrig.NoDuplicates)
}

// With -key, a key goes over to the new connection behind its own last line.
func TestRenewalsKeepTheOrderOfKeys(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const senders, keysEach = 2, 100
	s := testrig.NewStage(t)
	l := &keyLedger{t: t, keys: map[string]*keyState{}}
	a, b := startKeyTarget(t, l), startKeyTarget(t, l)
	s.StartLineMode([]testrig.Target{testrig.WithOptions(a, "max-age=5s"), testrig.WithOptions(b, "max-age=5s")},
		"-key", "field:1", "-connections", "2")
	var mu sync.Mutex // guards sent
	sent := map[string]int{}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			sendKeys(t, s.Process.Listeners[0], i, keysEach, stop, func(key string, n int) {
				mu.Lock()
				defer mu.Unlock()
				sent[key] = n
			})
		})
	}
	end := sync.OnceFunc(func() { close(stop); sending.Wait() })
	defer end()
	for _, x := range []*keyTarget{a, b} {
		awaitRenewals(s, func() int { return int(x.accepted.Load()) }, 2)
	}
	end()
	testrig.WaitFor(t, "all lines", func() bool { return l.has(sent) })
	s.WaitForLedger()
	expectQuiet(s)
	s.Terminate(0)
	if l.again > 0 {
		t.Errorf("%d of %d lines came twice", l.again, l.total)
	}
}

// The connections of each group are renewed, and each line reaches each group once.
func TestConnectionsOfGroupsAreRenewed(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	main, archive := testrig.NewStage(t), testrig.NewStage(t)
	a, b := main.StartTwoSinks()
	c, d := archive.StartTwoSinks()
	renewed := func(s *testrig.Sink) testrig.Target { return testrig.WithOptions(s, "max-age=5s") }
	main.Process = main.StartLinesplit([]testrig.Target{renewed(a), b}, "-connections", "2",
		"-group", "archive="+renewed(c).Target()+","+d.Target())
	main.Baseline = testrig.WaitForUsage(t, main.Process, 8)
	main.StartSenders(2, testrig.SenderOptions{Rate: *changesRate})
	awaitRenewals(main, a.Accepted, 2)
	awaitRenewals(main, c.Accepted, 2)
	main.StopSenders()
	archive.Sent = main.Sent
	main.WaitForAllLines()
	archive.WaitForAllLines()
	expectQuiet(main)
	main.CheckLeaks()
	m := waitForGroups(t, main.Process, "main", "archive")
	main.Terminate(0)
	for name, s := range map[string]*testrig.Stage{"main": main, "archive": archive} {
		wantGroup(t, m, name, float64(main.Sent.Lines()), 0)
		if r := s.Tally.Report(main.Sent); r.Err() != nil || r.Duplicated > 0 {
			t.Errorf("group %s: %v: %s\n%s", name, r.Err(), r, r.Details())
		}
	}
}
