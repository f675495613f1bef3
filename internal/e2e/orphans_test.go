//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/testrig"
)

// As PID 1, the only process of our container image, linesplit got the orphans of its health checks
// and left them as zombies: one for each check. The checks' exit status must not suffer.
func TestOrphansOfHealthChecksAreReaped(t *testing.T) {
	t.Parallel()
	runs := filepath.Join(t.TempDir(), "runs")
	check := filepath.Join(t.TempDir(), "check")
	script := fmt.Sprintf("#!/bin/sh\nsleep 100 >/dev/null 2>&1 &\necho >> %s\nexit 0\n", runs)
	if err := os.WriteFile(check, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testrig.Binary(t), "-listen", "tcp://127.0.0.1:0", "-mode", "connection", "-target", "127.0.0.1:1",
		"-health", "exec", "-health-command", check, "-health-interval", "10ms", "-health-fall", "1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Skipf("no process may have a namespace of its own here: %v", err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	ran := func() int { info, _ := os.ReadFile(runs); return len(info) }
	testrig.WaitFor(t, "30 checks", func() bool { return ran() >= 30 })
	if !testrig.Poll(testrig.Patience, func() bool { return zombies(t, cmd.Process.Pid) == 0 }) {
		t.Errorf("%d zombies after %d checks", zombies(t, cmd.Process.Pid), ran())
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || strings.Contains(log.String(), "target down") {
		t.Errorf("%v; a check lost its exit status, or the log says otherwise:\n%s", err, &log)
	}
}

// zombies counts the children of a process that have ended and were not waited for.
func zombies(t *testing.T, parent int) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		stat, _ := os.ReadFile(file) // the process may have gone
		_, rest, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(rest, fmt.Sprintf("Z %d ", parent)) {
			n++
		}
	}
	return n
}
