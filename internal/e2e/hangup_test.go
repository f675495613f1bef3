//go:build linux

package e2e

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/testrig"
)

// SIGHUP killed a linesplit that had not read its configuration yet, since the handler was
// installed only when everything was open. The hangup is sent while packages are initialized.
func TestHangupBeforeTheConfigurationIsRead(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(testrig.Binary(t), "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1") // a line on stderr for each package
	log := start(t, cmd)
	sent, reloaded := false, false
	for log.Scan() && !reloaded {
		if !sent && strings.HasPrefix(log.Text(), "init flag @") { // one of the first that linesplit imports
			sent = cmd.Process.Signal(syscall.SIGHUP) == nil
		}
		reloaded = strings.Contains(log.Text(), "msg=reloaded")
	}
	if !sent || !reloaded {
		t.Errorf("hangup sent: %t; reloaded: %t", sent, reloaded)
	}
}

// A command does not reload: it ends with its terminal, as programs do.
func TestHangupEndsCommands(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("hangups are ignored here, as nohup(1) makes them, and programs inherit that")
	}
	cmd := exec.Command(testrig.Binary(t), "sink", "-listen", "tcp://127.0.0.1:0")
	log := start(t, cmd)
	if !log.Scan() {
		t.Fatal("the sink says nothing")
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for log.Scan() {
	}
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGHUP {
		t.Errorf("the sink ended with %v, want the signal", err)
	}
}

// start starts a program, kills it at the end of the test, and returns the lines that it writes on
// standard error. If it never ends, the test's own time limit does.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		io.Copy(io.Discard, stderr)
		cmd.Wait()
	})
	return bufio.NewScanner(stderr)
}
