//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// A shipper on the same machine pipes into linesplit; at the end of its output linesplit is done.
func TestStandardInputEndsWithDrainAndExit(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.TwoSinks()
	o := testrig.NewProcessOptions([]testrig.Target{a, b}, "-listen", "stdin:")
	o.Stdin = bytes.NewReader(s.Numbered(20_000, 300))
	o.Listeners = 0 // it may have ended before anyone looks
	s.P = testrig.StartProcess(t, o)
	if code := s.P.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	s.Judge(nil, testrig.None)
}

// The same with no receiver there: a pipeline in a shell script must not hang for ever.
func TestStandardInputEndsAlsoWithAllTargetsDown(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	o := testrig.NewProcessOptions([]testrig.Target{testrig.NewPlace(t)}, "-listen", "stdin:", "-drain-timeout", "2s")
	o.Stdin = bytes.NewReader(s.Numbered(500, 300))
	s.P = testrig.StartProcess(t, o)
	if code := s.P.Wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	testrig.Contains(t, s.Report(), "unconfirmed_lines=500 ")
}

// docker stop while no receiver is there: it must end in time, and say what was not delivered.
func TestTerminationWithAllTargetsDownReportsTrueCount(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	s.Run([]testrig.Target{sink}, "-drain-timeout", "2s")
	sink.Exit()
	const lines, size = 3_217, 200
	s.Load(1, testrig.SenderOptions{Lines: lines, Size: size})
	s.WaitLoad()
	s.Metric(lines, "linesplit_received_lines_total")
	holdout := s.Dial() // does not close, whatever linesplit says
	s.Write(holdout, []byte("an unfinished line"))
	s.Metric(1, "linesplit_connections")
	began := time.Now()
	s.Terminate(1)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v to end, with a drain timeout of 2s", took)
	}
	testrig.Contains(t, s.Report(), fmt.Sprintf("unconfirmed_lines=%d ", lines), fmt.Sprintf("unconfirmed_bytes=%d ", lines*size), "senders_cut_off=1")
	if s.Tally.Lines() != 0 {
		t.Errorf("%d lines arrived at a target that was not there", s.Tally.Lines())
	}
}

// Someone presses Ctrl-C again.
func TestSecondSignalEndsAtOnceWithTheReport(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.Sink(testrig.SinkOptions{})
	s.Run([]testrig.Target{sink}, "-drain-timeout", "1h")
	sink.Exit()
	s.Load(1, testrig.SenderOptions{Lines: 1_234})
	s.WaitLoad()
	s.Metric(1_234, "linesplit_received_lines_total")
	s.P.Signal(syscall.SIGTERM)
	testrig.WaitFor(t, "the drain begins", func() bool { return strings.Contains(s.P.Stderr(), "drain began") })
	s.Terminate(1)
	testrig.Contains(t, s.Report(), "unconfirmed_lines=1234 ")
}
