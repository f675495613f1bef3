//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"linesplit/internal/testrig"
)

// A target with three times the weight gets three times the connections, under every rule that
// ignores the load, and under random when there is no load.
func TestConnectionsFollowTheWeights(t *testing.T) {
	t.Parallel()
	weights := []int{1, 2, 3}
	tests := []struct {
		rule      string
		n, atOnce int
		// tolerance for the share of a target, as a share of all connections. Random choices
		// need more, and most of all the rule "random": of two targets it takes the one with fewer
		// connections, and the last client's connection may still count when the next one comes.
		tolerance float64
	}{
		{"round-robin", 2_000, 16, 0.001},
		{"random", 2_000, 1, 0.06},
		{"source-hash", 2_000, 16, 0.05},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			if testrig.Race && test.rule != "round-robin" {
				t.Skip("it takes too long")
			}
			n := test.n
			s := testrig.NewStage(t)
			var servers []*testrig.Server
			var targets []testrig.Target
			for _, weight := range weights {
				servers = append(servers, testrig.NewServer(t, testrig.ServerOptions{}))
				targets = append(targets, testrig.WithOptions(servers[len(servers)-1], fmt.Sprint("weight=", weight)))
			}
			s.StartConnectionMode(targets, "-balance", test.rule)
			s.ForEach(n, test.atOnce, func(i int) error {
				return testrig.Client{From: testrig.ClientAddress(i)}.Echo(t, s.Process.Listeners[0], nil)
			})
			for i, weight := range weights {
				share, want := float64(servers[i].Accepted())/float64(n), float64(weight)/6
				t.Logf("weight %d: %.2f %% of %d connections, by weight %.2f %%", weight, 100*share, n, 100*want)
				if share < want-test.tolerance || share > want+test.tolerance {
					t.Errorf("weight %d got %.2f %% of the connections, want %.2f %%", weight, 100*share, 100*want)
				}
			}
			s.WaitForMetric(float64(n), "linesplit_target_connections_total")
			s.WaitForMetric(float64(n), "linesplit_connections_accepted_total")
			s.FinishConnectionMode()
		})
	}
}

// The connections of a target that hangs stay open, so it gets no more of them than the others
// have.
func TestLeastConnectionsAvoidsASlowTarget(t *testing.T) {
	t.Parallel()
	const n, atOnce = 200, 8
	s := testrig.NewStage(t)
	over := make(chan struct{})
	slow := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		<-over
		testrig.EchoAtEnd(conn)
	}})
	fast := testrig.NewServer(t, testrig.ServerOptions{})
	s.StartConnectionMode([]testrig.Target{slow, fast}, "-balance", "least-connections")
	var clients sync.WaitGroup
	clients.Go(func() { s.EchoMany(testrig.Client{}, n, atOnce, testrig.FixedSize(100)) })
	testrig.WaitFor(t, "all clients are connected to targets",
		func() bool { return slow.Accepted()+fast.Accepted() == n })
	close(over)
	clients.Wait()
	t.Logf("the slow target got %d of %d connections", slow.Accepted(), n)
	if slow.Accepted() > atOnce || slow.Accepted() == 0 {
		t.Errorf("the slow target got %d of %d connections, want a few", slow.Accepted(), n)
	}
	s.FinishConnectionMode()
}

// A target whose connections carry much data gets few new ones.
func TestLeastBandwidthAvoidsABusyTarget(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	var servers []testrig.Target
	var names []string
	for range 2 {
		server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
		servers, names = append(servers, server), append(names, server.Target())
	}
	s.StartConnectionMode(servers, "-balance", "least-bandwidth")
	hog := s.DialTCP()
	var busy sync.WaitGroup
	busy.Go(func() { io.Copy(io.Discard, hog) })
	busy.Go(func() { io.Copy(hog, endless{}) })
	s.WaitForMetric(10<<20, "linesplit_target_sent_bytes_total")
	at := slices.IndexFunc(names, func(name string) bool {
		return s.Process.Metrics().Sum("linesplit_target_sent_bytes_total", testrig.Label("target", name)) > 1<<20
	})
	const n = 40
	testrig.WaitFor(t, "the busy target gets few connections", func() bool {
		before := s.Process.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))
		s.ForEach(n, 1, func(int) error {
			return testrig.Client{}.Echo(t, s.Process.Listeners[0],
				testrig.Payload(10))
		})
		return s.Process.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target",
			names[at]))-before < n/10
	})
	hog.Close()
	busy.Wait()
	s.FinishConnectionMode()
}

// Targets hold sessions of their clients. When a target fails, only its own clients move to others,
// and they return when it is back.
func TestSourceHashMovesOnlyTheLostTargetsClients(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const clients = 300
	s := testrig.NewStage(t)
	servers := make([]*testrig.Server, 4)
	targets := make([]testrig.Target, len(servers))
	for i := range servers {
		servers[i] = testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText(fmt.Sprint(i))})
		targets[i] = servers[i]
	}
	s.StartConnectionMode(targets, "-balance", "source-hash")
	targetsOfClients := func() []string {
		names := make([]string, clients)
		s.ForEach(clients, 8, func(i int) error {
			name, err := testrig.Client{From: testrig.ClientAddress(i)}.Exchange(t, s.Process.Listeners[0], nil)
			names[i] = string(name)
			return err
		})
		return names
	}
	before := targetsOfClients()
	if again := targetsOfClients(); !slices.Equal(before, again) {
		t.Error("clients moved although nothing had changed")
	}
	const lost = "2"
	servers[2].StopListening()
	moved, away := 0, targetsOfClients()
	movedTo := make(map[string]int)
	for i := range before {
		switch {
		case before[i] == lost:
			moved++
			movedTo[away[i]]++
		case before[i] != away[i]:
			t.Errorf("client %d moved from %s to %s, which both listen", i, before[i], away[i])
		}
	}
	t.Logf("%d of %d clients moved: %v", moved, clients, movedTo)
	if moved < clients/8 || len(movedTo) != len(servers)-1 || movedTo[lost] > 0 {
		t.Errorf("%d of %d clients moved, to %v: want about a quarter, to all other targets", moved, clients, movedTo)
	}
	servers[2].Listen()
	s.WaitForTargetUp(servers[2], true)
	if back := targetsOfClients(); !slices.Equal(before, back) {
		t.Error("the target is back, but not all of its clients are")
	}
	s.FinishConnectionMode()
}

// A backup target gets clients while no other target is up, and no longer.
func TestBackupServesOnlyWhileNoOtherTargetIsUp(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText("a")})
	b := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText("b")})
	spare := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText("spare")})
	s.StartConnectionMode([]testrig.Target{testrig.WithOptions(spare, "backup=true"), a, b})
	servingTargets := func() string {
		var seen []string
		for range 10 {
			name, err := testrig.Client{}.Exchange(t, s.Process.Listeners[0], nil)
			if err != nil {
				t.Errorf("a client is not served: %v", err)
			}
			seen = append(seen, string(name))
		}
		slices.Sort(seen)
		return strings.Join(slices.Compact(seen), " ")
	}
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, "a b"},
		{a.StopListening, "b"},
		{b.StopListening, "spare"},
		{func() { b.Listen(); s.WaitForTargetUp(b, true) }, "b"},
		{func() { a.Listen(); s.WaitForTargetUp(a, true) }, "a b"},
	}
	for i, step := range steps {
		step.do()
		if got := servingTargets(); got != step.want {
			t.Errorf("step %d: %q serve, want %q", i, got, step.want)
		}
	}
	s.FinishConnectionMode()
}
