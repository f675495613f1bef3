//go:build linux

package testrig

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// laneEnv makes this test binary another process that takes the fast lane. It holds the path of a
// file that exists only while a process is in the lane, or holdLane.
const (
	laneEnv  = "RIG_LANE"
	holdLane = "hold"
)

// laneRounds is the number of times that each process takes the lane.
const laneRounds = 200

// The go command runs the tests of two packages in two processes at the same time. Their loaded
// tests ran side by side while the lane was a semaphore of one process.
func TestFastLaneHoldsAcrossProcesses(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "in-the-lane")
	others := []*laneProcess{startLaneProcess(t, marker), startLaneProcess(t, marker)}
	for _, other := range others {
		other.expect(t, "ready\n")
	}
	for _, other := range others {
		other.in.Close()
	}
	for _, other := range others {
		rest, _ := io.ReadAll(other.out)
		if err := other.cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, rest)
		}
	}
}

func TestFastLaneIsFreeAfterItsHolderWasKilled(t *testing.T) {
	holder := startLaneProcess(t, holdLane)
	holder.expect(t, "taken\n")
	taken := make(chan error, 1)
	go func() {
		release, err := lockModule()
		if err == nil {
			release()
		}
		taken <- err
	}()
	holder.cmd.Process.Kill()
	holder.cmd.Wait()
	select {
	case err := <-taken:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(Patience):
		t.Fatal("the lane is still taken")
	}
}

// TestFastLaneProcess is the other process of the tests above.
func TestFastLaneProcess(t *testing.T) {
	switch marker := os.Getenv(laneEnv); marker {
	case "":
		t.Skip("only for a process that another test has started")
	case holdLane:
		TakeFastLane(t)
		fmt.Println("taken")
		io.ReadAll(os.Stdin)
	default:
		fmt.Println("ready")
		io.ReadAll(os.Stdin)
		for range laneRounds {
			t.Run("round", func(t *testing.T) { takeMarkedLane(t, marker) })
		}
	}
}

// takeMarkedLane takes the lane. The exclusive creation of the marker fails if another process is
// in the lane.
func takeMarkedLane(t *testing.T, marker string) {
	TakeFastLane(t)
	f, err := os.OpenFile(marker, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatalf("two processes are in the lane: %v", err)
	}
	f.Close()
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
}

// laneProcess is a process that takes the lane.
type laneProcess struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

func startLaneProcess(t *testing.T, marker string) *laneProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFastLaneProcess$")
	cmd.Env = append(os.Environ(), laneEnv+"="+marker)
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &laneProcess{cmd, in, bufio.NewReader(out)}
}

func (p *laneProcess) expect(t *testing.T, want string) {
	t.Helper()
	if line, err := p.out.ReadString('\n'); line != want {
		t.Fatalf("the other process wrote %q, %v, want %q", line, err, want)
	}
}
