//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// A program on the same machine pipes lines into linesplit, which drains and exits at the end of
// its input.
func TestEndOfStandardInputDrainsAndExits(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	o := testrig.NewProcessOptions([]testrig.Target{a, b}, "-listen", "stdin:")
	o.Stdin = bytes.NewReader(s.NumberedLines(20_000, 300))
	o.Listeners = 0 // it may end before the test reads its log
	s.Process = testrig.StartProcess(t, o)
	if code := s.Process.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	s.CheckDelivery(nil, testrig.NoDuplicates)
}

// A script that pipes a directory, or a descriptor that cannot be read, into linesplit went on as
// if it had been an empty input: no error in the log, and exit code 0.
func TestStandardInputThatCannotBeReadFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, flag := range map[string]int{dir: os.O_RDONLY, filepath.Join(dir, "file"): os.O_CREATE | os.O_WRONLY} {
		in, err := os.OpenFile(name, flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		sink := testrig.NewSink(t, testrig.NewTally(), testrig.SinkOptions{})
		p := testrig.StartProcess(t, testrig.ProcessOptions{Args: []string{"-listen", "stdin:", "-target", sink.Target()}, Stdin: in})
		in.Close()
		if code := p.Wait(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		testrig.ExpectContains(t, p.Stderr(), `level=ERROR msg="standard input failed, its rest is not read" err="read /dev/stdin: `)
	}
}

// At the end of its input linesplit gave its targets as long as a supervisor waits, although none
// did: the lines for a slow receiver, or for one that was about to start, were lost.
func TestEndOfStandardInputWaitsForTargets(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no checks": nil,
		"checks":    {"-health", "tcp", "-health-interval", "50ms"}, // which have to go on after the end
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			addr := testrig.FreeHostPort(t)
			o := testrig.NewProcessOptions([]testrig.Target{addr},
				append(args, "-listen", "stdin:", "-drain-timeout", "1ms")...)
			o.Stdin = bytes.NewReader(s.NumberedLines(500, 300))
			s.Process = testrig.StartProcess(t, o)
			testrig.WaitFor(t, "the end of the input", func() bool { return s.CountLogLines("drain began") > 0 })
			testrig.WaitFor(t, "the target's failure", func() bool { return s.CountLogLines("target down") > 0 })
			testrig.ExpectContains(t, s.Process.Stderr(), `msg="drain began" cause="end of input"`)
			s.StartSink(testrig.SinkOptions{Address: string(addr)})
			if code := s.Process.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			testrig.ExpectContains(t, s.DrainReport(), "confirmed_lines=500 ", "unconfirmed_lines=0 ")
			s.CheckDelivery(nil, testrig.NoDuplicates)
		})
	}
}

// `timeout 60 linesplit -listen stdin:` ends the wait for targets that never come.
func TestTerminationAfterTheEndOfStandardInput(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	o := testrig.NewProcessOptions([]testrig.Target{testrig.FreeHostPort(t)}, "-listen", "stdin:", "-drain-timeout", "10ms")
	o.Stdin = bytes.NewReader(s.NumberedLines(500, 300))
	s.Process = testrig.StartProcess(t, o)
	testrig.WaitFor(t, "the end of the input", func() bool { return s.CountLogLines("drain began") > 0 })
	if code := s.Process.Terminate(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	testrig.ExpectContains(t, s.Process.Stderr(), `msg="drain began" cause=terminated drain_timeout=10ms`)
	testrig.ExpectContains(t, s.DrainReport(), "unconfirmed_lines=500 ")
}

// `docker stop` while no target listens: linesplit must end in time, and report how much it has not
// delivered.
func TestTerminationWithAllTargetsDownReportsUnconfirmedLines(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, "-drain-timeout", "2s")
	sink.Exit()
	const lines, size = 3_217, 200
	s.StartSenders(1, testrig.SenderOptions{Lines: lines, Size: size})
	s.WaitForSenders()
	s.WaitForMetric(lines, "linesplit_received_lines_total")
	open := s.Dial() // never closes
	s.Write(open, []byte("an unfinished line"))
	s.WaitForMetric(1, "linesplit_connections")
	began := time.Now()
	s.Terminate(1)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v to end, with a drain timeout of 2s", took)
	}
	testrig.ExpectContains(t, s.DrainReport(), fmt.Sprintf("unconfirmed_lines=%d ", lines),
		fmt.Sprintf("unconfirmed_bytes=%d ", lines*size), "senders_cut_off=1")
	if s.Tally.Lines() != 0 {
		t.Errorf("%d lines arrived at a target that did not listen", s.Tally.Lines())
	}
}

// `timeout`, and Ctrl-C under `docker run -it`, send a signal to the process and at once to its
// group. The second one made the drain end as it began.
func TestSignalToProcessAndGroupDrains(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartLineMode([]testrig.Target{s.StartSink(testrig.SinkOptions{})}, "-drain-timeout", "1h")
	conn := s.Dial()
	s.Write(conn, []byte("begun "))
	s.WaitForConnections(1)
	s.Process.Signal(syscall.SIGSTOP) // so that both are pending when it goes on
	s.Process.Signal(syscall.SIGTERM)
	s.Process.Signal(syscall.SIGINT)
	s.Process.Signal(syscall.SIGCONT)
	testrig.WaitFor(t, "the drain begins", func() bool { return s.CountLogLines("drain began") > 0 || s.Process.Ended() })
	s.Write(conn, s.NumberedLines(1, 100))
	conn.CloseWrite()
	if code := s.Process.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	testrig.ExpectContains(t, s.Process.Stderr(), "signal taken as a repetition of the one before")
	testrig.ExpectContains(t, s.DrainReport(), "received_lines=1 ", "confirmed_lines=1 ", "senders_cut_off=0")
}

// The user presses Ctrl-C again.
func TestSecondSignalEndsAtOnceWithTheReport(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, "-drain-timeout", "1h")
	sink.Exit()
	s.StartSenders(1, testrig.SenderOptions{Lines: 1_234})
	s.WaitForSenders()
	s.WaitForMetric(1_234, "linesplit_received_lines_total")
	s.Process.Signal(syscall.SIGTERM)
	s.StopAtOnce()
	if code := s.Process.Wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	testrig.ExpectContains(t, s.DrainReport(), "unconfirmed_lines=1234 ")
}
