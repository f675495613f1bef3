//go:build linux

package contender

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/bench/internal/load"
	"linesplit/bench/internal/procstat"
)

// TestMain runs roles, as the program does, when the test binary is its own child.
func TestMain(m *testing.M) {
	if load.RunRole(Roles(), os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// lockThread keeps a test on one thread: the kernel kills children when the thread that started
// them ends.
func lockThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

func TestStopEndsAProxyAndItsChildren(t *testing.T) {
	lockThread(t)
	l := &Launcher{Threads: 1, Dir: t.TempDir()}
	l.FindPrograms(t.Context(), func(err error) { t.Logf("%v: tested without it", err) })
	for _, name := range l.Available(HAProxy, Nginx, Socat, IOCopy, Rsyslog, RsyslogDisk, SyslogNG) {
		sink, err := load.Spawn(t.Context(), "sink")
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Stop()
		targets, err := sink.Await("listening")
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Start(t.Context(), Setup{Name: name, Spool: t.TempDir()}, targets)
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
		want := map[string]int{Nginx: 2, Socat: 3}[name] // processes in the end: nginx listens before it has workers
		all, err := procstat.WithChildren(p.cmd.Process.Pid)
		for end := time.Now().Add(startTimeout); len(all) < want && time.Now().Before(end); time.Sleep(time.Millisecond) {
			all, err = procstat.WithChildren(p.cmd.Process.Pid)
		}
		if err != nil || len(all) < want {
			t.Errorf("%s: processes %v, %v", name, all, err)
		}
		if err := p.Stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, pid := range all {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err == nil && !strings.Contains(string(state), ") Z ") {
				t.Errorf("%s: process %d of %v is still there: %s", name, pid, all, state)
			}
		}
	}
}

func TestErrorNamesAMissingProgram(t *testing.T) {
	_, err := findProgram("linesplit-is-not-called-this")
	if err == nil || err.Error() != "linesplit-is-not-called-this is not on PATH" {
		t.Errorf("error = %v", err)
	}
}

func TestOldLinesplitHasItsOwnBinaryAndFlags(t *testing.T) {
	l := &Launcher{Linesplit: "/new/linesplit", Flags: "-a", Threads: 1}
	if l.Has(OldLinesplit) || l.Has(OldLinesplitConnection) {
		t.Error("an old linesplit is there without a path")
	}
	l.Old, l.OldFlags = "/old/linesplit", "-b -c"
	for name, want := range map[string]string{
		Linesplit:              "/new/linesplit -listen tcp://x -target tcp://y -connections 4 -a",
		OldLinesplit:           "/old/linesplit -listen tcp://x -target tcp://y -connections 4 -b -c",
		LinesplitConnection:    "/new/linesplit -listen tcp://x -target tcp://y -mode connection -a",
		OldLinesplitConnection: "/old/linesplit -listen tcp://x -target tcp://y -mode connection -b -c",
	} {
		cmd, err := l.command(t.Context(), Setup{Name: name}, "x", []string{"y"})
		if err != nil || strings.Join(cmd.Args, " ") != want || !l.Has(name) {
			t.Errorf("%s: %q, %v", name, cmd.Args, err)
		}
	}
}

func TestSpoolsHaveTheirFlags(t *testing.T) {
	l := &Launcher{Linesplit: "/new/linesplit", Flags: "-a", Threads: 1}
	for name, want := range map[string]string{
		LinesplitOverflow: "-spool /s -spool-mode overflow -a",
		LinesplitAlways:   "-spool /s -spool-mode always -spool-sync 200ms -a",
		LinesplitSynced:   "-spool /s -spool-mode always -spool-sync write -a",
	} {
		cmd, err := l.command(t.Context(), Setup{Name: name, Spool: "/s"}, "x", []string{"y"})
		want = "/new/linesplit -listen tcp://x -target tcp://y -connections 4 " + want
		if err != nil || strings.Join(cmd.Args, " ") != want || !KeepsLines(name) || !Ours(name) {
			t.Errorf("%s: %q, %v", name, cmd.Args, err)
		}
	}
	if KeepsLines(Linesplit) || KeepsLines(Rsyslog) || Ours(OldLinesplit) {
		t.Error("one contender is taken for another")
	}
}

func TestProxiesThatAreNotToBeMeasuredAreNotAvailable(t *testing.T) {
	l := &Launcher{Without: []string{"nginx", "socat", "rsyslog", "syslog-ng", "io.copy"}}
	l.FindPrograms(t.Context(), func(err error) {
		if !strings.Contains(err.Error(), "haproxy") {
			t.Errorf("%v, although nothing wants it", err)
		}
	})
	l.Programs.HAProxy = "x"
	got := l.Available(Direct, HAProxy, HAProxySplicing, Nginx, Socat, Rsyslog, RsyslogDisk, SyslogNG, IOCopy, Linesplit)
	if want := []string{Direct, HAProxy, HAProxySplicing, Linesplit}; !slices.Equal(got, want) {
		t.Errorf("%q are available", got)
	}
}
