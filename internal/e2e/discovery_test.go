//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// listFile is a list of targets in a file, which tests replace.
type listFile struct {
	*testrig.Stage
	path string
}

// putList replaces the list by a rename.
func putList[T testrig.Target](f listFile, targets ...T) {
	f.Helper()
	var text strings.Builder
	text.WriteString("- targets:\n")
	for _, t := range targets {
		text.WriteString("  - '" + strings.TrimPrefix(t.Target(), "tcp://") + "'\n")
	}
	if err := os.WriteFile(f.path+".new", []byte(text.String()), 0o600); err != nil {
		f.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		f.Fatal(err)
	}
}

// Targets come and go under load, and nothing is lost or sent twice. At the start there is none:
// senders wait.
func TestTargetsFollowAFile(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	f := listFile{s, filepath.Join(t.TempDir(), "targets.yaml")}
	s.StartLineMode(nil, "-target", "file://"+f.path+"?refresh=1s")
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForMetric(1, "linesplit_source_failing")
	if m := s.Process.Metrics(); m.Sum("linesplit_target_up") > 0 {
		t.Error("there are targets before any was found")
	}
	s.WaitForSenderLines(1)
	var sinks []*testrig.Sink
	for range 4 {
		sinks = append(sinks, s.StartSink(testrig.SinkOptions{}))
	}
	putList(f, sinks[:2]...)
	s.WaitForLines(sinks[0], 400)
	s.WaitForLines(sinks[1], 400)
	s.Baseline = testrig.WaitForUsage(t, s.Process, 8)
	listed, ended := sinks[:2:2], []*testrig.Sink(nil)
	for i := range *changes {
		joins := sinks[(i+2)%4]
		if slices.Contains(ended, joins) {
			joins.Listen()
			ended = slices.DeleteFunc(ended, func(e *testrig.Sink) bool { return e == joins })
		}
		putList(f, append(listed, joins)...)
		s.WaitForLines(joins, 200)
		leaves := listed[0]
		leaves.Shutdown() // a receiver that has gone goes from the list at once
		ended = append(ended, leaves)
		listed = []*testrig.Sink{listed[1], joins}
		putList(f, listed...)
		s.WaitForExactMetric(2, "linesplit_source_targets")
		gone := func() bool {
			return !strings.Contains(s.Process.Metrics().Dump(), "linesplit_target_up{target=\""+leaves.Target()+"\"")
		}
		testrig.WaitFor(t, leaves.Target()+" goes", gone)
	}
	if err := os.WriteFile(f.path, []byte("- targets: ["), 0o600); err != nil { // half written
		t.Fatal(err)
	}
	s.WaitForMetric(1, "linesplit_source_failing")
	s.WaitForLines(listed[0], 200)
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}

// named returns what a name server is to know: these hosts of receivers.test.
func named(hosts ...string) (lines []string) {
	for _, h := range hosts {
		lines = append(lines, h+" receivers.test")
	}
	return lines
}

// startFleet starts sinks at one port of several addresses, as a name in DNS has them.
func startFleet(s *testrig.Stage, n int) (port string, hosts []string, sinks []*testrig.Sink) {
	s.Helper()
	first := s.StartSink(testrig.SinkOptions{})
	host, port, _ := net.SplitHostPort(first.Addr())
	hosts, sinks = []string{host}, []*testrig.Sink{first}
	for len(sinks) < n {
		host = net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254))).String()
		sinks = append(sinks, s.StartSink(testrig.SinkOptions{Address: net.JoinHostPort(host, port)}))
		hosts = append(hosts, host)
	}
	return port, hosts, sinks
}

// A new address gets its share within its TTL plus two seconds. A name server that stops, and one
// that has no address any more, takes nothing away. One line of the log says so.
func TestTargetsFollowDNS(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	port, hosts, sinks := startFleet(s, 3)
	d := testrig.StartNameServer(t, testrig.NameServerOptions{Addr: string(testrig.FreeHostPort(t)), Hosts: named(hosts[:2]...)})
	s.Process = s.StartLinesplit(nil, "-target", "dns://receivers.test:"+port, "-resolver", d.Addr())
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(sinks[0], 200)
	s.WaitForLines(sinks[1], 200)
	d.Set(named(hosts...)...)
	began := time.Now()
	s.WaitForLines(sinks[2], 200)
	if took := time.Since(began); took > 7*time.Second && !testrig.Race {
		t.Errorf("the new address had its share after %v", took)
	}
	s.Baseline = testrig.WaitForUsage(t, s.Process, 12)
	d.Set()
	s.WaitForMetric(1, "linesplit_source_failing")
	d.Signal(syscall.SIGSTOP)
	s.WaitForMetric(2, "linesplit_source_failures_total")
	d.Signal(syscall.SIGCONT)
	d.Set(named(hosts...)...)
	s.WaitForExactMetric(0, "linesplit_source_failing")
	for _, sink := range sinks {
		s.WaitForLines(sink, 100)
	}
	if n := s.CountLogLines("source failed"); n != 1 {
		t.Errorf("%d lines of the log say that the source failed", n)
	}
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}

// In connection mode a client that comes before any target is found waits for it.
func TestConnectionsFollowAFile(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	path := filepath.Join(t.TempDir(), "targets.json")
	s.StartConnectionMode(nil, "-target", "file://"+path, "-queue-timeout", "1m", "-dial-budget", "1m")
	server := testrig.NewServer(t, testrig.ServerOptions{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.ExpectServed(testrig.Client{})
	}()
	s.WaitForConnections(1)
	text := fmt.Sprintf(`[{"targets":[%q]}]`, strings.TrimPrefix(server.Target(), "tcp://"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	<-served
	s.Baseline = testrig.WaitForUsage(t, s.Process, 0).WithWaiting(1)
	s.ExpectServed(testrig.Client{})
	s.FinishConnectionMode()
}
