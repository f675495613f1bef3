//go:build linux

package contender

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"linesplit/bench/internal/load"
	"linesplit/bench/internal/procstat"
)

// TestMain lets the test binary take the roles that the program takes as its own child.
func TestMain(m *testing.M) {
	if load.Play(Roles(), os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// lockThread keeps a test on one thread: children die with the thread that started them.
func lockThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

// findTestPrograms finds the proxies that are here.
func findTestPrograms(t *testing.T) Programs {
	return FindPrograms(t.Context(), func(err error) { t.Logf("%v: tested without it", err) })
}

func TestProxyEndsWithItsChildren(t *testing.T) {
	lockThread(t)
	l := &Launcher{Threads: 1, Dir: t.TempDir(), Programs: findTestPrograms(t)}
	for _, name := range l.Present(HAProxy, Nginx, Socat, Copier, Rsyslog) {
		sink, err := load.Spawn(t.Context(), "sink")
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Stop()
		targets, err := sink.Await("listening")
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Start(t.Context(), Setup{Name: name}, targets)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			conn, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		most := map[string]int{Nginx: 2, Socat: 3}[name] // processes that it has in the end: nginx listens before it has workers
		all, err := procstat.Family(p.cmd.Process.Pid)
		for end := time.Now().Add(startLimit); len(all) < most && time.Now().Before(end); time.Sleep(time.Millisecond) {
			all, err = procstat.Family(p.cmd.Process.Pid)
		}
		if err != nil || len(all) < most {
			t.Errorf("%s: processes %v, %v", name, all, err)
		}
		if err := p.Stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, pid := range all {
			if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(state), ") Z ") {
				t.Errorf("%s: process %d of %v is still there: %s", name, pid, all, state)
			}
		}
	}
}

func TestAbsentProgramIsNamed(t *testing.T) {
	if _, err := look("linesplit-is-not-called-this"); err == nil || err.Error() != "linesplit-is-not-called-this is not on PATH" {
		t.Errorf("error = %v", err)
	}
}
