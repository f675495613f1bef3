package discovery

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// descriptors returns how many descriptors this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// waitForEnd waits until a process whose number is in a file has ended.
func waitForEnd(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(wait); running(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is left", pid)
		}
	}
}

// running reports whether a process has not ended. One that has may be a zombie of another process.
func running(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// Nothing of a program is left: no process, no descriptor, and no goroutine (see TestMain). One
// that goes over to a session of its own is out of reach, but holds nothing up.
func TestExecLeavesNothing(t *testing.T) {
	before := descriptors(t)
	t.Run("programs", func(t *testing.T) {
		for _, test := range []struct{ name, body, err string }{
			{"fails after a good answer", "echo a:1; exit 3", "exit status 3"},
			{"is killed after a good answer", "echo a:1; kill -9 $$", "signal: killed"},
			{"floods errors", "yes error | head -c 5000000 >&2; echo a:1", ""},
			{"floods errors for ever", "yes error >&2", "takes too long"},
			{"leaves a child that floods", "yes >&2 & echo $! >$0.pid; echo a:1", ""},
			{"leaves a child with its output", "sleep 1000 & echo $! >$0.pid; echo a:1", ""},
			{"leaves a child with its errors", "sleep 1000 >/dev/null & echo $! >$0.pid; echo a:1", ""},
			{"leaves a child that ignores signals", "(trap '' TERM HUP; sleep 1000; :) & echo $! >$0.pid; echo a:1", ""},
			{"hangs with a child", "sleep 1000 & echo $! >$0.pid; wait", "takes too long"},
			{"leaves a session of its own", "setsid sleep 2 & echo a:1", ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				if test.err == "takes too long" {
					ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				}
				defer cancel()
				src := program(t, test.body)
				a, err := src.lookup(ctx)
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, %v, want %q", written(a), err, test.err)
				}
				if good := cmp.Equal(written(a), []string{"tls://a:1"}); good != (test.err == "") {
					t.Errorf("targets %q", written(a))
				}
				if strings.Contains(test.body, ".pid") {
					waitForEnd(t, src.spec.place+".pid")
				}
			})
		}
	})
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// A program that is being written cannot be started, and one that is replaced while it runs is
// another one at the next lookup.
func TestExecIsReplaced(t *testing.T) {
	src := program(t, "cat $0.pipe; echo a:1")
	path := src.spec.place
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, src); err == nil || !strings.Contains(err.Error(), "text file busy") {
		t.Errorf("open for writing: %v", err)
	}
	f.Close()
	if err := syscall.Mkfifo(path+".pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		if a, err := ask(t, src); err != nil || !cmp.Equal(written(a), []string{"tls://a:1"}) {
			t.Errorf("the old program: %v, %v", written(a), err)
		}
	})
	pipe, err := os.OpenFile(path+".pipe", os.O_WRONLY, 0) // the program has opened it, too
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(program(t, "echo b:1").spec.place, path); err != nil {
		t.Fatal(err)
	}
	pipe.Close()
	asking.Wait()
	if a, err := ask(t, src); err != nil || !cmp.Equal(written(a), []string{"tls://b:1"}) {
		t.Errorf("the new program: %v, %v", written(a), err)
	}
}

// The end of a driver ends the program that it waits for, and what that has started.
func TestDriverEndsPrograms(t *testing.T) {
	src := program(t, "sleep 1000 & echo $! >$0.new; mv $0.new $0.pid; wait")
	pid := filepath.Join(src.spec.place + ".pid")
	d := NewDriver(Options{})
	d.Set([]Spec{src.spec}, "")
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() { d.Run(ctx) })
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(pid); err == nil {
			break
		}
	}
	cancel()
	asking.Wait()
	waitForEnd(t, pid)
}
