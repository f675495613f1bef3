//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"linesplit/internal/simulate/relppeer"
	"linesplit/internal/simulate/websink"
	"linesplit/internal/testrig"
)

// webStage has targets that take lines in HTTP requests.
type webStage struct {
	*testrig.Stage
	store   *websink.Store
	web     []*testrig.WebTarget
	targets []testrig.Target
}

func newWebStage(t *testing.T, n int, bulk bool, options string) *webStage {
	s := &webStage{Stage: testrig.NewStage(t)}
	s.store = testrig.NewWebStore(s.Tally)
	for range n {
		w := testrig.NewWebTarget(t, s.store, bulk)
		s.web = append(s.web, w)
		s.targets = append(s.targets, withOptions{w, options})
	}
	return s
}

// start starts linesplit in line mode.
func (s *webStage) start(args ...string) {
	s.Helper()
	s.StartLineMode(s.targets, args...)
	s.Baseline = s.Baseline.WithRequests(4 * len(s.targets))
}

func (s *webStage) checkIDs() {
	s.Helper()
	if _, wrong := s.store.Again(); wrong > 0 {
		s.Errorf("%d IDs stood for other lines before", wrong)
	}
}

func eachWebKind(t *testing.T, test func(t *testing.T, bulk bool)) {
	for _, bulk := range []bool{false, true} {
		name := "batches"
		if bulk {
			name = "bulk"
		}
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, bulk) })
	}
}

// A target that fails in every way gets each line exactly once, since it recognizes what it has
// taken before its answer was lost. It is restarted all the time, too.
func TestWebTargetThatFails(t *testing.T) {
	eachWebKind(t, func(t *testing.T, bulk bool) {
		s := newWebStage(t, 1, bulk, "batch-bytes=16KiB&timeout=5s&compress=gzip")
		s.start()
		s.web[0].Fail(1)
		s.StartSenders(2, testrig.SenderOptions{Rate: 2_000})
		for range 4 {
			s.WaitForLines(s.Tally, 2_000)
			s.web[0].Stop()
			s.web[0].Listen()
		}
		s.StopSenders()
		s.web[0].Fail(0)
		s.FinishLineMode(testrig.NoDuplicates)
		s.checkIDs()
		if again, _ := s.store.Again(); again == 0 {
			t.Error("no answer was lost")
		}
	})
}

// The lines of a node that dies go to another one, which knows what the first one has taken.
func TestWebTargetFailsOver(t *testing.T) {
	eachWebKind(t, func(t *testing.T, bulk bool) {
		s := newWebStage(t, 2, bulk, "batch-bytes=16KiB")
		s.start("-failback-probe", "200ms")
		s.StartSenders(2, testrig.SenderOptions{Rate: 2_000})
		for i := range 4 {
			s.WaitForLines(s.Tally, 2_000)
			w := s.web[i%2]
			w.Stop()
			s.WaitForLines(s.Tally, 2_000)
			w.Listen()
		}
		s.StopSenders()
		s.FinishLineMode(testrig.NoDuplicates)
		s.checkIDs()
	})
}

// Lines that the target refuses are counted, in the dead-letter file, and not in the way of others.
func TestWebTargetRefuses(t *testing.T) {
	eachWebKind(t, func(t *testing.T, bulk bool) {
		s := newWebStage(t, 1, bulk, "linger=10ms")
		dead := filepath.Join(t.TempDir(), "dead")
		s.web[0].Refuse(func(line []byte) bool { return bytes.HasPrefix(line, []byte("bad")) })
		s.start("-dead-letter", dead)
		conn := s.Dial()
		const bad = 7
		s.LastID++
		lines := bytes.SplitAfter(testrig.Records(s.LastID, 1000*bad, 64), []byte("\n"))
		for i := range bad {
			s.Write(conn, bytes.Join(lines[1000*i:1000*(i+1)], nil))
			s.Write(conn, fmt.Appendf(nil, "bad %d\n", i))
		}
		conn.Close()
		s.Sent[s.LastID], s.OtherLines = 1000*bad, bad
		s.FinishLineMode(testrig.NoDuplicates)
		text, err := os.ReadFile(dead)
		if err != nil {
			t.Fatal(err)
		}
		for i := range bad {
			if want := fmt.Sprintf(`"line":"bad %d"}`, i); strings.Count(string(text), want) != 1 {
				t.Errorf("%s is not once in %s", want, text)
			}
		}
		testrig.ExpectContains(t, s.DrainReport(), fmt.Sprintf("rejected_lines=%d", bad))
	})
}

// After a kill -9, a spool sends the documents of the bulk API with the IDs that they had, and
// batches as they were: those whose answers were lost are not there twice.
func TestIDsSurviveKills(t *testing.T) {
	t.Parallel()
	for name, bulk := range map[string]bool{"documents": true, "batches": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpoolStage(t, "-spool-mode", "always", "-connections", "2")
			store := testrig.NewWebStore(s.Tally)
			w := testrig.NewWebTarget(t, store, bulk)
			s.targets = []testrig.Target{withOptions{w, "batch-bytes=16KiB&linger=5ms"}}
			w.Fail(3)
			s.start()
			for range 5 {
				s.send(2_000, 100)
				for range 20 { // of a few lines each
					s.send(7, 100)
				}
				s.waitUntilReceived(2_140)
				s.kill()
				s.start()
			}
			w.Fail(0)
			s.WaitForAllLines()
			s.Process.Terminate()
			if r := s.Tally.Report(s.Sent); r.Lost+r.Duplicated+r.NeverSent+r.Corrupt > 0 {
				t.Errorf("%s\n%s", r, r.Details())
			}
			if again, wrong := store.Again(); again == 0 || wrong > 0 {
				t.Errorf("%d documents or batches came again, %d IDs stood for other lines", again, wrong)
			}
		})
	}
}

// Lines that wait in a batch for a target that cannot be reached have not been sent, but for what
// RELP writes before it notices. (An HTTP target is dialled anew for a request after a second.)
// They counted as sent again when the connection failed, and others as acknowledged.
func TestLinesThatNeverLeftAreNotResent(t *testing.T) {
	t.Parallel()
	const lines, relpWindow = 1000, 128
	for name, target := range map[string]func(*testing.T, *testrig.Stage) unreachable{
		"HTTP": func(t *testing.T, s *testrig.Stage) unreachable {
			return testrig.NewWebTarget(t, testrig.NewWebStore(s.Tally), false)
		},
		"RELP": func(t *testing.T, s *testrig.Stage) unreachable {
			server, err := relppeer.StartServer(s.Tally.Tally)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Stop)
			return relpTarget{t, server}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			to := target(t, s)
			s.StartLineMode([]testrig.Target{withOptions{to, "linger=2s"}}, "-connections", "1")
			s.WaitForMetric(1, "linesplit_target_connections")
			s.StartSenders(1, testrig.SenderOptions{Lines: lines})
			s.WaitForMetric(lines, "linesplit_received_lines_total")
			to.Stop()
			testrig.WaitFor(t, "the connection fails", func() bool { return s.CountLogLines("connection failed") > 0 })
			to.Listen()
			s.WaitForSenders()
			s.WaitForAllLines()
			s.WaitForMetric(lines, "linesplit_confirmed_lines_total")
			s.WaitForMetric(lines, "linesplit_acknowledged_lines_total")
			m := s.Process.Metrics()
			if n := m.Sum("linesplit_resent_lines_total"); n > relpWindow || name == "HTTP" && n > 0 {
				t.Errorf("%v lines resent", n)
			}
			if n := m.Sum("linesplit_acknowledged_lines_total"); n > lines {
				t.Errorf("%v lines acknowledged of %d", n, lines)
			}
			s.Terminate(0)
		})
	}
}

// unreachable is a target that can be stopped.
type unreachable interface {
	testrig.Target
	Stop()
	Listen()
}

// relpTarget is a target that speaks RELP.
type relpTarget struct {
	t *testing.T
	*relppeer.Server
}

// Listen starts the target where it was.
func (r relpTarget) Listen() {
	if err := r.Server.Listen(); err != nil {
		r.t.Error(err)
	}
}

// A server that accepts connections and answers each request with an error is down: a backup serves
// while it is the only other target, and rests again once it has taken lines.
func TestBackupServesWhileAServerFails(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	var broken atomic.Bool
	broken.Store(true)
	primary := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer primary.Close()
	backup := s.StartSink(testrig.SinkOptions{})
	s.Process = s.StartLinesplit([]testrig.Target{webAddress(primary.URL + "/in"), withOptions{backup, "backup=true"}},
		"-failback-probe", "200ms", "-connections", "2")
	s.StartSenders(1, testrig.SteadySender())
	s.WaitForLines(backup, 2_000)
	broken.Store(false)
	s.WaitForMetric(2_000, "linesplit_confirmed_lines_total", testrig.Label("target", primary.URL+"/in"))
	s.StopSenders()
	s.WaitUntilConfirmed()
	s.Terminate(0)
}

// Lines that wait for others are sent at once when linesplit is to end.
func TestLingerEndsWithTheDrain(t *testing.T) {
	eachWebKind(t, func(t *testing.T, bulk bool) {
		s := newWebStage(t, 1, bulk, "linger=1m")
		s.start()
		conn := s.Dial()
		s.Write(conn, s.NumberedLines(2, 100))
		s.WaitForMetric(2, "linesplit_received_lines_total")
		conn.Close()
		s.Terminate(0)
		s.WaitForAllLines()
	})
}
