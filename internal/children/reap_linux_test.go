package children

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the process get orphans, as PID 1 does.
func TestMain(m *testing.M) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// orphan is a program that ends after the one that has started it. It prints its process number.
const orphan = `(sleep 0.01) >/dev/null & echo $!`

// Programs of health checks left zombies behind where linesplit is PID 1 of its container.
func TestOrphansAreReaped(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"in the program's group", orphan},
		{"in a session of its own", `setsid -f sleep 0.01; ` + orphan},
	} {
		t.Run(test.name, func(t *testing.T) {
			stop := reaping(t.Context())
			defer stop()
			pid, err := run(test.script)
			if err != nil {
				t.Fatal(err)
			}
			for exists(pid) || exited() != 0 {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// Every program keeps its exit status, however many orphans end at the same time.
func TestExitStatusIsLeftAlone(t *testing.T) {
	stop := reaping(t.Context())
	defer stop()
	var running sync.WaitGroup
	for want := range 100 {
		running.Go(func() {
			_, err := run(fmt.Sprintf(orphan+"; exit %d", want))
			got := 0
			if exit, failed := errors.AsType[*exec.ExitError](err); failed {
				got, err = exit.ExitCode(), nil
			}
			if got != want || err != nil {
				t.Errorf("exit code %d, %v, want %d", got, err, want)
			}
		})
	}
	running.Wait()
	if err := Start(exec.Command("/nonexistent")); err == nil {
		t.Error("a program that does not exist was started")
	}
	for exited() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// reaping reaps until stop is called.
func reaping(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var reaper sync.WaitGroup
	reaper.Go(func() { Reap(ctx) })
	return func() { cancel(); reaper.Wait() }
}

// run runs a script and returns the number that it prints.
func run(script string) (int, error) {
	var out strings.Builder
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = &out
	if err := Start(cmd); err != nil {
		return 0, err
	}
	err := Wait(cmd)
	pid, _ := strconv.Atoi(strings.TrimSpace(out.String()))
	return pid, err
}

// exists reports whether there is such a process, alive or a zombie.
func exists(pid int) bool { return unix.Kill(pid, 0) == nil }
