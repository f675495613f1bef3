//go:build unix

package health

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"linesplit/target"
)

// script writes a program.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExec(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body, err string }{
		{"well", `exit 0`, ""},
		{"not well", `exit 3`, "exit status 3"},
		{"its argument", `test "$#" = 1 && test "$1" = "h:1"`, ""},
		{"no input", `read x && exit 1; exit 0`, ""},
		{"much output", `yes | head -c 1000000; yes | head -c 1000000 >&2`, ""},
		{"killed", `kill -9 $$`, "signal: killed"},
		{"hangs", `sleep 1000`, "killed: context deadline exceeded"},
		{"heeds no signal", `trap "" TERM INT HUP; while :; do sleep 1; done`, "deadline exceeded"},
		{"keeps writing", `yes`, "deadline exceeded"},
		{"leaves one behind with its output", `sleep 1000 & exit 0`, ""},
		{"waits for its child", `sleep 1000 & wait`, "deadline exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := script(t, test.body) // while no other is started, whose process would have it open for writing for a moment
			t.Parallel()
			d := wait
			if strings.Contains(test.err, "deadline") {
				d = limit
			}
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			start := time.Now()
			err := mustCheck(t, Settings{Kind: "exec", Command: command}).run(ctx, target.Address{Scheme: target.SchemeTCP, Host: "h:1"}, target.Options{})
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("%v; want %q", err, test.err)
			}
			if took := time.Since(start); took > wait/2 {
				t.Errorf("took %v", took)
			}
		})
	}
}

// Nothing that the program has started outlives the check, whether it ends or is killed.
func TestExecLeavesNothing(t *testing.T) {
	for name, end := range map[string]string{"ends": "exit 0", "hangs": "wait"} {
		pids := filepath.Join(t.TempDir(), "pids")
		started := func() []string {
			b, _ := os.ReadFile(pids) // there is none at first
			return strings.Fields(string(b))
		}
		command := script(t, `(trap "" TERM HUP; echo $$ >>`+pids+`; sleep 1000) & echo $! >>`+pids+`
sleep 1000 & echo $! >>`+pids+`
until test $(wc -l <`+pids+`) = 3; do sleep 0.01; done; `+end)
		ctx, cancel := context.WithCancel(t.Context())
		var checking sync.WaitGroup
		checking.Go(func() {
			mustCheck(t, Settings{Kind: "exec", Command: command}).run(ctx, target.Address{Host: "h:1"}, target.Options{})
		})
		eventually(t, func() bool { return len(started()) == 3 })
		if name == "hangs" {
			cancel()
		}
		checking.Wait()
		cancel()
		for _, line := range started() {
			pid, err := strconv.Atoi(line)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return gone(pid) })
		}
	}
}

const leavesGroup = "LINESPLIT_TEST_LEAVES_GROUP"

func init() {
	if os.Getenv(leavesGroup) == "" {
		return
	}
	group, err := syscall.Getpgid(os.Getppid())
	if err == nil {
		err = syscall.Setpgid(0, group)
	}
	if err == nil {
		time.Sleep(2 * wait)
	}
	os.Exit(0)
}

// A program that has gone over to another process group is killed all the same. Removing its
// target waits for that, and so does the end of linesplit.
func TestExecLeavesItsGroup(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := script(t, leavesGroup+`=1 exec "`+self+`"`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	err = mustCheck(t, Settings{Kind: "exec", Command: command}).run(ctx, target.Address{Host: "h:1"}, target.Options{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want that the time was over", err)
	}
	if took := time.Since(start); took > wait/2 {
		t.Errorf("took %v", took)
	}
}

// gone reports whether the process has ended; a zombie that waits for its parent has.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// A program that is gone by now is the target's fault, as the operator would notice; one that
// cannot be started for want of resources is not (see isLocalError).
func TestExecGone(t *testing.T) {
	path := script(t, "exit 0")
	c := mustCheck(t, Settings{Kind: "exec", Command: path})
	os.Remove(path)
	if err := c.run(t.Context(), target.Address{Host: "h:1"}, target.Options{}); !errors.Is(err, os.ErrNotExist) || isLocalError(err) {
		t.Error(err)
	}
}
