package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxExposure is the highest exposure level that "systemd-analyze security" may find, in tenths:
// from 0, with no rights, to 100, with all rights of root.
const maxExposure = "15"

func TestUnitsAreValidAndHardened(t *testing.T) {
	needSystemd(t)
	service, socket := installedUnits(t)
	analyze(t, "verify", "--man=no", service, socket)
	analyze(t, "security", "--offline=yes", "--threshold="+maxExposure, service)
}

// systemd-analyze must notice an invalid unit, and one with too much exposure.
func TestBrokenUnitIsFound(t *testing.T) {
	needSystemd(t)
	service, _ := installedUnits(t)
	data, err := os.ReadFile(service)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(data), "ProtectSystem=strict", "ProtectSistem=strict", 1)
	if err := os.WriteFile(service, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", service).CombinedOutput()
	if err == nil && !strings.Contains(string(out), "ProtectSistem") {
		t.Errorf("systemd-analyze accepted it: %s", out)
	}
	if err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=5", service).Run(); err == nil {
		t.Error("a threshold of 5 is not too low")
	}
}

// systemCalls returns the system calls that strace has shown for linesplit and for the program of
// an exec check, in both modes, and those that Go's runtime and package net make now and then.
func systemCalls() []string {
	return []string{
		"accept4", "access", "bind", "brk", "clone", "clone3", "close", "connect", "dup3", "epoll_create1", "epoll_ctl",
		"epoll_pwait", "eventfd2", "execve", "faccessat2", "fchmodat", "fcntl", "flock", "fstat", "futex", "getpeername",
		"getpid", "getrandom", "getrlimit", "getsockname", "getsockopt", "gettid", "ioctl", "kill", "listen", "madvise",
		"mmap", "mprotect", "munmap", "nanosleep", "newfstatat", "openat", "pidfd_open", "pidfd_send_signal", "pipe2",
		"poll", "ppoll", "pread64", "prlimit64", "read", "readlinkat", "recvfrom", "recvmsg", "renameat", "rt_sigaction",
		"rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "sendmsg", "sendto", "set_robust_list",
		"setsockopt", "shutdown", "sigaltstack", "socket", "splice", "statfs", "tee", "tgkill", "timer_create",
		"timer_delete", "timer_settime", "uname", "unlinkat", "wait4", "waitid", "write", "writev",
	}
}

func TestSystemCallFilterAllowsWhatLinesplitCalls(t *testing.T) {
	needSystemd(t)
	allowed := systemCallSet(t, "@system-service")
	for name := range systemCallSet(t, "@default") {
		allowed[name] = true
	}
	for _, set := range []string{"@privileged", "@resources"} {
		for name := range systemCallSet(t, set) {
			delete(allowed, name)
		}
	}
	for _, name := range systemCalls() {
		if !allowed[name] {
			t.Errorf("the service may not call %s", name)
		}
	}
}

// TestSystemCallFilterAllowsWhatLinesplitCalls computes the filter of these lines.
func TestUnitHasTheTestedSystemCallFilter(t *testing.T) {
	var lines []string
	for line := range strings.Lines(unit(t)) {
		if strings.HasPrefix(line, "SystemCallFilter=") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := []string{"SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q, or a change to the test of the filter", lines, want)
	}
}

// systemd does not restart the service after the exit code of a wrong configuration. A Go program
// that panics, or that the watchdog stops, exits with the same code, unless the unit prevents that.
func TestServiceIsRestartedAfterACrash(t *testing.T) {
	const crashing = "LINESPLIT_DEPLOYCHECK_CRASHING"
	if os.Getenv(crashing) != "" {
		panic("as told")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), crashing+"=1")
	prevented := ""
	for line := range strings.Lines(unit(t)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "Environment":
			cmd.Env = append(cmd.Env, value)
		case "RestartPreventExitStatus":
			prevented = value
		}
	}
	cmd.Dir = t.TempDir() // for a core dump, if there is one
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "as told") {
		t.Fatalf("it did not crash: %v\n%s", err, out)
	}
	if code := cmd.ProcessState.ExitCode(); prevented == "" || strconv.Itoa(code) == prevented {
		t.Errorf("exit code %d, with RestartPreventExitStatus=%s", code, prevented)
	}
}

// unit returns the text of linesplit.service.
func unit(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, "deploy/systemd/linesplit.service"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func needSystemd(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("SKIPPED: systemd-analyze is not installed; on Debian it is in the package systemd")
	}
}

// installedUnits returns the paths of copies of the units, which start an existing program.
func installedUnits(t *testing.T) (service, socket string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	service, socket = filepath.Join(dir, "linesplit.service"), filepath.Join(dir, "linesplit.socket")
	for _, file := range []string{service, socket} {
		data, err := os.ReadFile(filepath.Join(repository, "deploy/systemd", filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "=/usr/bin/linesplit ", "="+program+" ")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return service, socket
}

// analyze runs systemd-analyze, which must find no faults in our units.
func analyze(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil || args[0] == "verify" && strings.Contains(string(out), "linesplit.") {
		t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
	}
}

// systemCallSet returns the system calls in a set of systemd, including those of the sets in it.
func systemCallSet(t *testing.T, set string) map[string]bool {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "syscall-filter", set).Output()
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		switch name := strings.TrimSpace(line); {
		case name == "" || strings.HasPrefix(name, "#") || name == set:
		case strings.HasPrefix(name, "@"):
			for inner := range systemCallSet(t, name) {
				calls[inner] = true
			}
		default:
			calls[name] = true
		}
	}
	return calls
}
