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

// A machine with three times the weight gets three times the connections, with every rule that does not look at load, and with random
// where there is none.
func TestConnectionsFollowTheWeights(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testrig.Race {
		n = 2_000
	}
	weights := []int{1, 2, 3}
	tests := []struct {
		rule   string
		atOnce int
		spread float64 // how far a share may be off, in shares of all connections: no better than chance where it is drawn
	}{
		{"round-robin", 16, 0.001},
		{"random", 1, 0.02},
		{"source-hash", 16, 0.02},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			if testrig.Race && test.rule != "round-robin" {
				t.Skip("too few connections for chance")
			}
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
				if share < want-test.spread || share > want+test.spread {
					t.Errorf("weight %d got %.2f %% of the connections, want %.2f %%", weight, 100*share, 100*want)
				}
			}
			s.WaitForMetric(float64(n), "linesplit_target_connections_total")
			s.WaitForMetric(float64(n), "linesplit_connections_accepted_total")
			s.FinishConnectionMode()
		})
	}
}

// A target that hangs has connections open, and so gets no more of them than the others have.
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
	testrig.WaitFor(t, "all clients are at targets", func() bool { return slow.Accepted()+fast.Accepted() == n })
	close(over)
	clients.Wait()
	t.Logf("the slow target got %d of %d connections", slow.Accepted(), n)
	if slow.Accepted() > atOnce || slow.Accepted() == 0 {
		t.Errorf("the slow target got %d of %d connections, want a few", slow.Accepted(), n)
	}
	s.FinishConnectionMode()
}

// The same for those that carry much.
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
	testrig.WaitFor(t, "the busy target is known for it", func() bool {
		before := s.Process.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))
		s.ForEach(n, 1, func(int) error { return testrig.Client{}.Echo(t, s.Process.Listeners[0], testrig.Payload(10)) })
		return s.Process.Metrics().Sum("linesplit_target_connections_total", testrig.Label("target", names[at]))-before < n/10
	})
	hog.Close()
	busy.Wait()
	s.FinishConnectionMode()
}

// Sessions live at targets: a target's going moves its own clients, and its coming back brings them home.
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
	whoServes := func() []string {
		names := make([]string, clients)
		s.ForEach(clients, 8, func(i int) error {
			name, err := testrig.Client{From: testrig.ClientAddress(i)}.Exchange(t, s.Process.Listeners[0], nil)
			names[i] = string(name)
			return err
		})
		return names
	}
	before := whoServes()
	if again := whoServes(); !slices.Equal(before, again) {
		t.Error("the same clients came to other targets, with nothing changed")
	}
	const lost = "2"
	servers[2].StopListening()
	moved, away := 0, whoServes()
	heirs := make(map[string]int)
	for i := range before {
		switch {
		case before[i] == lost:
			moved++
			heirs[away[i]]++
		case before[i] != away[i]:
			t.Errorf("client %d moved from %s to %s, which were both there", i, before[i], away[i])
		}
	}
	t.Logf("%d of %d clients moved: %v", moved, clients, heirs)
	if moved < clients/8 || len(heirs) != len(servers)-1 || heirs[lost] > 0 {
		t.Errorf("%d of %d clients moved, to %v: want about a quarter, to all the others", moved, clients, heirs)
	}
	servers[2].Listen()
	s.WaitForTargetUp(servers[2], true)
	if home := whoServes(); !slices.Equal(before, home) {
		t.Error("not all clients are where they were, with the target back")
	}
	s.FinishConnectionMode()
}

// A standby takes over when nobody else is there, and gives back.
func TestBackupServesOnlyWhenNobodyElseDoes(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText("a")})
	b := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText("b")})
	spare := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.SendText("spare")})
	s.StartConnectionMode([]testrig.Target{testrig.WithOptions(spare, "backup=true"), a, b})
	who := func() string {
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
		if got := who(); got != step.want {
			t.Errorf("step %d: %q serve, want %q", i, got, step.want)
		}
	}
	s.FinishConnectionMode()
}
