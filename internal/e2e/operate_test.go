//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/internal/ctl"
	"linesplit/internal/testrig"
)

// operator sends commands to the linesplit of a stage, as `linesplit ctl` does.
type operator struct {
	*testrig.Stage
	client *ctl.Client
	token  string // file with the admin token
}

func newOperator(s *testrig.Stage) *operator {
	s.Helper()
	o := &operator{Stage: s, token: filepath.Join(s.TempDir(), "token")}
	if err := os.WriteFile(o.token, []byte("opensesame\n"), 0o600); err != nil {
		s.Fatal(err)
	}
	return o
}

// connect prepares for commands. The process must be running.
func (o *operator) connect() {
	o.Helper()
	c, err := ctl.NewClient(ctl.Options{Address: o.Process.Admin, Token: "opensesame"})
	if err != nil {
		o.Fatal(err)
	}
	o.client = c
	o.Cleanup(c.Close)
}

// do runs a command of `linesplit ctl` that must succeed, and returns its output.
func (o *operator) do(words ...string) []byte {
	o.Helper()
	answer, err := o.try(words...)
	if err != nil {
		o.Fatalf("ctl %s: %v", strings.Join(words, " "), err)
	}
	return answer
}

// try runs a command of `linesplit ctl`.
func (o *operator) try(words ...string) ([]byte, error) {
	var out bytes.Buffer
	err := ctl.Run(o.Context(), o.client, &out, true, words)
	return out.Bytes(), err
}

// state returns the state of a target, or "" if there is no target of that name.
func (o *operator) state(target string) string {
	o.Helper()
	var status admin.Status
	if err := json.Unmarshal(o.do("status"), &status); err != nil {
		o.Fatal(err)
	}
	for _, t := range status.Targets {
		if t.Name == target {
			return t.State
		}
	}
	return ""
}

// await waits until a target has a state.
func (o *operator) await(target, state string) {
	o.Helper()
	testrig.WaitFor(o.T, fmt.Sprintf("%s is %q", target, state), func() bool { return o.state(target) == state })
}

// An operator sends ten lines and asks for the targets: they showed a rate of 0 and a share of 0 %
// for ten seconds, until the lines were confirmed.
func TestFewLinesShowAtOnce(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	o := newOperator(s)
	s.StartLineMode([]testrig.Target{sink}, "-admin-token-file", o.token, "-resend-age", "10s")
	o.connect()
	conn := s.Dial()
	defer conn.Close()
	s.Write(conn, s.NumberedLines(10, 100))
	var now admin.Status
	testrig.WaitFor(t, "ten lines are sent and acknowledged", func() bool {
		if err := json.Unmarshal(o.do("status"), &now); err != nil {
			t.Fatal(err)
		}
		lines := now.Targets[0].Lines
		return lines.Sent.Lines == 10 && lines.Acknowledged.Lines == 10
	})
	if to := now.Targets[0]; now.Ledger.Confirmed.Lines > 0 {
		t.Log("they are confirmed already, on a machine this slow")
	} else if to.Rates.Lines == 0 || to.Rates.Share != 1 || now.Rates.SentLines == 0 || now.Ledger.Sent.Lines != 10 {
		t.Errorf("rates %+v, of the target %+v; ledger %+v", now.Rates, to.Rates, now.Ledger)
	}
}

// Targets are added, drained and removed while lines flow: every line arrives once.
func TestTargetsAddedAndRemovedUnderLoadLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	c := s.StartSink(testrig.SinkOptions{})
	o := newOperator(s)
	s.StartLineMode([]testrig.Target{a, b}, "-admin-token-file", o.token)
	o.connect()
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(a, 400)
	for range 3 {
		o.do("add", c.Target())
		o.await(c.Target(), admin.StateUp)
		s.WaitForLines(c, 400)

		o.do("drain", a.Target())
		o.await(a.Target(), admin.StateDrained)
		before := a.Lines()
		s.WaitForLines(s.Tally, 1000)
		if n := a.Lines() - before; n > 0 {
			t.Errorf("%d lines arrived at a drained target", n)
		}
		o.do("resume", a.Target())
		s.WaitForLines(a, 400)

		o.do("remove", c.Target())
		o.await(c.Target(), "")
		s.WaitForLines(b, 400)
	}
	if _, err := o.try("remove", "tcp://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no such target") {
		t.Errorf("remove a target that does not exist: %v", err)
	}
	if _, err := o.try("balance", "random"); err == nil || !strings.Contains(err.Error(), "not in this mode") {
		t.Errorf("set a rule for balancing in line mode: %v", err)
	}
	s.StopSenders()
	o.client.Close()
	s.FinishLineMode(testrig.NoDuplicates)
}

// A target on this host hung, was drained, and then announced its end without having read the rest:
// its FIN passed for the answer of a target that has read everything, and those lines were lost.
func TestDrainedTargetThatHangsAndIsShutDownLosesNothing(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	o := newOperator(s)
	s.StartLineMode([]testrig.Target{a, b}, "-admin-token-file", o.token)
	o.connect()
	o.do("drain", b.Target())
	o.await(b.Target(), admin.StateDrained)
	conn := s.Dial()
	s.Write(conn, s.NumberedLines(100, 600))
	s.WaitForAllLines()
	testrig.WaitFor(t, "the kernel tells what a has read", func() bool {
		return s.Process.Metrics().Sum("linesplit_target_exact_connections", testrig.Label("target", a.Target())) > 0
	})
	time.Sleep(testrig.FINAge) // the FIN of a younger connection is ignored
	a.Pause()
	s.Write(conn, s.NumberedLines(20, 600))
	s.WaitForMetric(120, "linesplit_acknowledged_lines_total")
	o.do("resume", b.Target())
	o.await(b.Target(), admin.StateUp)
	o.do("drain", a.Target())
	s.Write(conn, s.NumberedLines(1, 600))
	s.WaitForLines(b, 1) // workers know of the drain
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := a.Sink.Shutdown(ctx); err == nil {
		t.Error("a target that hangs was shut down in order")
	}
	a.Listen()
	conn.Close()
	o.client.Close()
	s.WaitForAllLines()
	if resent := s.Process.Metrics().Sum("linesplit_resent_lines_total"); resent != 20 {
		t.Errorf("%.0f lines were sent again, want the 20 that were not read", resent)
	}
}

// Many operators change targets at the same time: whichever commands succeed, every line arrives
// once.
func TestConcurrentChangesUnderLoadLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	others := []*testrig.Sink{s.StartSink(testrig.SinkOptions{}), s.StartSink(testrig.SinkOptions{})}
	o := newOperator(s)
	s.StartLineMode([]testrig.Target{a, b}, "-admin-token-file", o.token)
	o.connect()
	s.StartSenders(2, testrig.SteadySender())
	s.WaitForLines(a, 400)
	var operators sync.WaitGroup
	for i := range 6 {
		operators.Go(func() {
			other := others[i%2].Target()
			for range 15 {
				for _, words := range [][]string{{"add", other}, {"status"}, {"drain", other}, {"connections"},
					{"resume", other}, {"reload"}, {"remove", other}, {"config"}} {
					if _, err := o.try(words...); err != nil && !refused(err) {
						t.Errorf("ctl %s: %v", strings.Join(words, " "), err)
					}
				}
			}
		})
	}
	operators.Wait()
	for _, other := range others {
		o.try("remove", other.Target()) // it may have been added again last
		o.await(other.Target(), "")
	}
	s.WaitForLines(b, 400)
	s.StopSenders()
	o.client.Close()
	s.FinishLineMode(testrig.NoDuplicates)
}

// refused reports whether linesplit refused a command because another operator was faster.
func refused(err error) bool {
	answer, ok := errors.AsType[*ctl.RefusedError](err)
	return ok && (answer.Status == 404 || answer.Status == 409)
}

// settingsFile is a configuration file that a test changes, and the stage whose linesplit reads it.
type settingsFile struct {
	*testrig.Stage
	path string
	seen int // lines about reloads in the log so far
}

func (f *settingsFile) write(lines ...string) {
	f.Helper()
	if err := os.WriteFile(f.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		f.Fatal(err)
	}
}

// run starts linesplit with the file, and waits for this many connections to its targets.
func (f *settingsFile) run(connections int, args ...string) {
	f.Helper()
	f.Process = f.StartLinesplit(nil, append([]string{"-config", f.path}, args...)...)
	f.Baseline = testrig.WaitForUsage(f.T, f.Process, connections)
}

// reload sends SIGHUP and returns the line of the log with the result.
func (f *settingsFile) reload() string {
	f.Helper()
	f.Process.Signal(syscall.SIGHUP)
	f.seen++
	var line string
	testrig.WaitFor(f.T, "the log has the result of the reload", func() bool {
		var results []string
		for text := range strings.Lines(f.Process.Stderr()) {
			if strings.Contains(text, "msg=reloaded") || strings.Contains(text, "reload failed") {
				results = append(results, text)
			}
		}
		if len(results) < f.seen {
			return false
		}
		line = results[f.seen-1]
		return true
	})
	return line
}

func TestReloadsUnderLoadLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sinks := []*testrig.Sink{s.StartSink(testrig.SinkOptions{}), s.StartSink(testrig.SinkOptions{}),
		s.StartSink(testrig.SinkOptions{})}
	f := &settingsFile{Stage: s, path: filepath.Join(t.TempDir(), "linesplit.conf")}
	pair := func(i int) string { return "target " + sinks[i%3].Target() + "," + sinks[(i+1)%3].Target() }
	f.write(pair(0))
	f.run(8)
	s.StartSenders(2, testrig.SteadySender())
	for i := range 20 {
		f.write(pair(i+1), fmt.Sprintf("stall-timeout %ds", 20+i), fmt.Sprintf("max-connections %d", 100+i))
		if line := f.reload(); !strings.Contains(line, `changed="target, stall-timeout, max-connections"`) {
			t.Fatalf("reload %d: %s", i, line)
		}
		s.WaitForLines(sinks[(i+2)%3], 200)
	}
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}

func TestBrokenReloadChangesNothing(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	f := &settingsFile{Stage: s, path: filepath.Join(t.TempDir(), "linesplit.conf")}
	f.write("target " + a.Target())
	o := newOperator(s)
	f.run(4, "-admin-token-file", o.token)
	o.connect()
	before := string(o.do("config"))
	o.do("reload")
	f.seen++ // reloads by the API are in the log too
	for text, want := range map[string]string{
		"target " + b.Target() + "\nstall-timeout soon": "stall-timeout",
		"target 10.0.0.1:9999?max-connections=3":        "max-connections is only valid with -mode connection",
		"tarket " + b.Target():                          "unknown key",
		"":                                              "holds no setting",
		"# target " + a.Target():                        "holds no setting",
		"stall-timeout 20s":                             "no target in the file",
	} {
		f.write(text)
		line := f.reload()
		if !strings.Contains(line, "reload failed, nothing has changed") || !strings.Contains(line, want) {
			t.Errorf("%q: %s", text, line)
		}
		if _, err := o.try("reload"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q, reloaded by the API: %v", text, err)
		}
	}
	if after := string(o.do("config")); after != before || o.state(b.Target()) != "" {
		t.Errorf("the configuration was\n%s\nand is\n%s", before, after)
	}
	f.write("target "+a.Target(), "memory 300MiB", "log-level debug")
	line := f.reload()
	if !strings.Contains(line, "changed=log-level") || !strings.Contains(line, "need_restart=memory") {
		t.Errorf("a setting that needs a restart: %s", line)
	}
	s.StartSenders(1, testrig.SteadySender())
	s.WaitForLines(a, 200)
	s.StopSenders()
	o.client.Close()
	s.FinishLineMode(testrig.NoDuplicates)
}

// A file that had become a pipe stopped the reload that met it, and with it all later ones, also
// once it was a file again.
func TestReloadAfterAPipe(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	f := &settingsFile{Stage: s, path: filepath.Join(t.TempDir(), "linesplit.conf")}
	f.write("target " + a.Target())
	f.run(4)
	if err := errors.Join(os.Remove(f.path), syscall.Mkfifo(f.path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if line := f.reload(); !strings.Contains(line, "a pipe, not a regular file") {
		t.Error(line)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.write("target " + b.Target())
	if line := f.reload(); !strings.Contains(line, "changed=target") {
		t.Error(line)
	}
}

// In connection mode, open connections stay when the configuration is reloaded.
func TestReloadKeepsConnections(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo}), testrig.NewServer(t,
		testrig.ServerOptions{Handler: testrig.Echo})
	f := &settingsFile{Stage: s, path: filepath.Join(t.TempDir(), "linesplit.conf")}
	f.write("target " + a.Target())
	s.StartConnectionMode(nil, "-config", f.path)
	conn := s.DialTCP()
	echo := func(text string) {
		t.Helper()
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := conn.Read(got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	echo("one")
	f.write("target "+a.Target()+"?weight=3,"+b.Target(), "balance least-connections", "idle-timeout 1m",
		"deny 10.0.0.0/8", "rate-per-client 1000/s")
	if line := f.reload(); !strings.Contains(line, "balance") || !strings.Contains(line, `need_restart=""`) {
		t.Errorf("reload: %s", line)
	}
	echo("two")
	testrig.WaitFor(t, "the new target gets clients", func() bool {
		if err := (testrig.Client{}).Echo(t, s.Process.Listeners[0], testrig.Payload(10)); err != nil {
			t.Error(err)
		}
		return b.Accepted() > 0 || t.Failed()
	})
	f.write("target " + b.Target())
	f.reload()
	echo("three") // its target drains
	conn.Close()
	s.FinishConnectionMode()
}
