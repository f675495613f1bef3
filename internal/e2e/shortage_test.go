//go:build linux

package e2e

import (
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// A process without descriptors logged each target as down when it lost its connections to them.
// Checks make no difference.
func TestLackOfDescriptorsMarksNoTargetDown(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"dials": nil, "checks": {"-health", "tcp", "-health-interval", "200ms"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b}, args...)
			s.StartSenders(1, testrig.SteadySender())
			s.WaitForLines(a, 400)
			enough := limitDescriptors(t, s.Process.PID(), 3)
			a.ResetConnections()
			b.ResetConnections()
			testrig.WaitFor(t, "dials fail", func() bool { return s.CountLogLines("cannot dial for want of resources") > 0 })
			limitDescriptors(t, s.Process.PID(), enough)
			s.WaitForLines(a, 400)
			s.WaitForLines(b, 400)
			s.StopSenders()
			if n := s.CountLogLines("target down"); n > 0 {
				t.Errorf("the log blames targets %d times", n)
			}
			s.WaitForMetric(1, "linesplit_target_dial_errors_total")
			s.FinishLineMode(testrig.OnlyResent)
		})
	}
}

// limitDescriptors sets how many descriptors a process may open, and returns how many it could.
func limitDescriptors(t *testing.T, pid int, n uint64) uint64 {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return before.Cur
}
