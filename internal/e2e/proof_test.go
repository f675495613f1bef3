//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/simulate/proof"
	"linesplit/internal/testrig"
)

// proofRun holds the fields that these tests need of the output of `linesplit proof -json`.
type proofRun struct {
	Passed  bool
	Results []proof.Result
}

// runProof runs `linesplit proof -json`.
func runProof(t *testing.T, args ...string) (code int, run proofRun, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testrig.Binary(t), append([]string{"proof", "-json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if err := json.Unmarshal(out.Bytes(), &run); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &out, &errs)
	}
	return cmd.ProcessState.ExitCode(), run, errs.String()
}

// A few of the scenarios that .ci/run runs in full: those in which other proxies lose lines.
func TestProofOfLinesplitPasses(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	names := []string{"crashes-unread", "proxy-sigterm", "reset-after-send", "black-hole"}
	code, run, stderr := runProof(t, "-short", "-only", strings.Join(names, ","))
	if code != 0 || !run.Passed || len(run.Results) != len(names) {
		t.Fatalf("exit code %d: %+v\n%s", code, run, stderr)
	}
	for i, r := range run.Results {
		t.Logf("%+v", r)
		if r.Verdict == proof.Skipped && r.Scenario == "black-hole" {
			continue
		}
		delivered := r.Verdict == proof.OK && r.Sent > 0 && r.Sent == r.ReceivedOnce && r.Lost == 0
		if r.Scenario != names[i] || !delivered || r.PeakMemory == nil || r.Recovery == nil {
			t.Errorf("%+v", r)
		}
	}
}

// What linesplit has read and written survives its death, and outages that memory cannot hold.
// Without a spool, a kill loses no more than linesplit held or had not read.
func TestProofOfTheSpoolPasses(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	names := []string{"proxy-killed", "killed-with-spool", "outage-beyond-memory", "spool-disk-full"}
	code, run, stderr := runProof(t, "-short", "-keep-going", "-only", strings.Join(names, ","))
	if code != 0 || !run.Passed || len(run.Results) != len(names) {
		t.Fatalf("exit code %d: %+v\n%s", code, run, stderr)
	}
	for i, r := range run.Results {
		t.Logf("%+v", r)
		killed := strings.Contains(r.Scenario, "killed")
		if r.Scenario != names[i] || r.Verdict != proof.OK || r.Sent < 5_000 || r.Staged == "" ||
			r.Lost != r.Excused || killed != (r.Note != "") || !killed && (r.Lost > 0 || r.Recovery == nil) {
			t.Errorf("%+v", r)
		}
	}
}

// Any proxy for lines can be tested.
func TestProofTestsAnyCommand(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	haproxy := testrig.FindHAProxy(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := "defaults\n mode tcp\n option redispatch\n timeout connect 1s\n timeout client 1m\n timeout server 1m\n" +
		"listen l\n bind {{.Listen}}\n{{range $i, $t := .Targets}} server s{{$i}} {{$t}}\n{{end}}"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-short", "-only", "connection-churn,crashes-unread", "-proxy", haproxy + " -db -f {config}",
		"-config", config}
	code, run, stderr := runProof(t, args...)
	if code != 1 || run.Passed || len(run.Results) != 1 || run.Results[0].Verdict != proof.Lost ||
		!strings.Contains(stderr, "not passed: crashes-unread (lost)") {
		t.Errorf("exit code %d: %+v\n%s", code, run, stderr)
	}
	code, run, stderr = runProof(t, append(args, "-report-only")...)
	if code != 0 || run.Passed || len(run.Results) != 2 || run.Results[1].Verdict != proof.OK {
		t.Errorf("with -report-only: exit code %d: %+v\n%s", code, run, stderr)
	}
}

// The user presses Ctrl-C.
func TestProofEndsInOrderWhenInterrupted(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testrig.Binary(t), "proof", "-only", "black-hole,all-stalled")
	cmd.Env = append(cmd.Environ(), "TMPDIR="+temp)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testrig.WaitFor(t, "the proof starts a proxy", func() bool { return len(childrenOf(cmd.Process.Pid)) > 0 })
	proxies := childrenOf(cmd.Process.Pid)
	began := time.Now()
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if code, took := cmd.ProcessState.ExitCode(), time.Since(began); code != 1 || took > 20*time.Second {
		t.Errorf("exit code %d after %v\n%s%s", code, took, &out, &errs)
	}
	testrig.ExpectContains(t, errs.String(), "interrupted")
	for _, pid := range proxies {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d still runs", pid)
		}
	}
	if left, err := os.ReadDir(temp); len(left) > 0 || err != nil {
		t.Errorf("temporary files left behind: %v, %v", left, err)
	}
}

// childrenOf returns the running child processes of a process.
func childrenOf(pid int) (all []int) {
	out, _ := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/%d/task/*/children", pid)).Output()
	for field := range strings.FieldsSeq(string(out)) {
		var child int
		fmt.Sscan(field, &child)
		all = append(all, child)
	}
	return all
}
