package listen

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/accept"
)

// TestTCPSocketOptions reads back the options of a sender's connection.
func TestTCPSocketOptions(t *testing.T) {
	ln := mustOpen(t, "tcp://127.0.0.1:0")
	defer ln.Close()
	_, far := connect(t, ln)
	options := []struct {
		name          string
		level, option int
		want          int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveIdle.Seconds())},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveInterval.Seconds())},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}, // not MPTCP
	}
	for _, o := range options {
		if got := getsockopt(t, far.(*net.TCPConn), o.level, o.option); got != o.want {
			t.Errorf("%s is %d, want %d", o.name, got, o.want)
		}
	}
	listener := ln.(*namedListener).deadlineListener.(*tcpListener)
	if got := getsockopt(t, listener, unix.SOL_SOCKET, unix.SO_PROTOCOL); got != unix.IPPROTO_TCP {
		t.Errorf("the listener's protocol is %d, want %d", got, unix.IPPROTO_TCP)
	}
}

func getsockopt(t *testing.T, c syscall.Conn, level, option int) (value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var optErr error
	must(t, raw.Control(func(fd uintptr) { value, optErr = unix.GetsockoptInt(int(fd), level, option) }))
	must(t, optErr)
	return value
}

func TestAbstractSocket(t *testing.T) {
	value := "unix://@linesplit-test-" + filepath.Base(t.TempDir()) + "-" + t.Name()
	ln := mustOpen(t, value)
	if accept.Name(ln) != value {
		t.Errorf("name %s, want %s", accept.Name(ln), value)
	}
	meet(t, ln)
	if _, err := Open(t.Context(), mustParse(t, value), nil, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want that it is in use", err)
	}
	must(t, ln.Close())
	must(t, mustOpen(t, value).Close())
}

// A socket whose program is slow to accept is not stale.
func TestSocketWithFullBacklogIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(fd)
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	must(t, syscall.Listen(fd, 0))
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		cancel()
		if err != nil {
			break
		}
		defer conn.Close()
	}
	_, err = Open(t.Context(), mustParse(t, "unix://"+path), nil, nil)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want that it is in use", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// When a socket file appears, no user may connect yet.
func TestSocketFileIsBoundWithoutPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := bind(t.Context(), mustParse(t, "unix://"+path+"?mode=0666"))
	must(t, err)
	defer ln.Close()
	if got := mode(t, path); got != 0 {
		t.Errorf("mode %o before the file has its owner, want none", got)
	}
}

func TestSocketFileGetsModeAndOwner(t *testing.T) {
	needRoot(t)
	path := filepath.Join(t.TempDir(), "s")
	ln := mustOpen(t, "unix://"+path+"?mode=0660&uid=12345&gid=23456")
	defer ln.Close()
	info, err := os.Lstat(path)
	must(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Uid != 12345 || stat.Gid != 23456 || info.Mode().Perm() != 0o660 {
		t.Errorf("uid %d, gid %d, mode %v", stat.Uid, stat.Gid, info.Mode())
	}
}

// TestModeAndOwnerDecideAccess tests that the kernel enforces modes and owners.
func TestModeAndOwnerDecideAccess(t *testing.T) {
	needRoot(t)
	tests := []struct {
		options string
		want    error
	}{
		{"?mode=0600", unix.EACCES},
		{"?mode=0666", nil},
		{"?mode=0600&uid=54321", nil},
		{"?mode=0660&gid=54321", nil},
		{"?mode=0640&gid=54321", unix.EACCES},
	}
	for _, tt := range tests {
		t.Run(tt.options, func(t *testing.T) {
			path := filepath.Join(openDir(t), "s")
			ln := mustOpen(t, "unix://"+path+tt.options)
			defer ln.Close()
			var err error
			asStranger(t, func() { err = rawConnect(path) })
			if err != tt.want {
				t.Errorf("connect: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestUnwritableDirectoryIsAnError(t *testing.T) {
	needRoot(t)
	s := mustParse(t, "unix://"+openDir(t)+"/s")
	var err error
	asStranger(t, func() { err = s.Check() })
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "is not writable") {
		t.Errorf("got %v", err)
	}
}

// Changing the owner without root is an error, and leaves no file.
func TestForbiddenOwnerLeavesNoFile(t *testing.T) {
	needRoot(t)
	dir := openDir(t)
	must(t, os.Chmod(dir, 0o777))
	s := mustParse(t, "unix://"+dir+"/s?mode=0600&uid=12345")
	var err error
	asStranger(t, func() { _, err = Open(t.Context(), s, nil, nil) })
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "set owner uid=12345") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(dir + "/s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file stayed: %v", err)
	}
}

// A socket file to which the process may not connect is left alone.
func TestForeignSocketIsLeftAlone(t *testing.T) {
	needRoot(t)
	dir := openDir(t)
	must(t, os.Chmod(dir, 0o777))
	live := mustOpen(t, "unix://"+dir+"/s?mode=0600")
	defer live.Close()
	var err error
	asStranger(t, func() { _, err = Open(t.Context(), mustParse(t, "unix://"+dir+"/s"), nil, nil) })
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	meet(t, live)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
}

// openDir returns a directory that every user may enter; those of t.TempDir are in one that only
// its owner may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// asStranger runs f as user and group 54321, on its own thread, which ends with f.
func asStranger(t *testing.T, f func()) {
	t.Helper()
	const id = 54321
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, id, id, id}, {unix.SYS_SETRESUID, id, id, id},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				t.Errorf("become another user: %v", errno)
				return
			}
		}
		f()
	}()
	<-done
}

func rawConnect(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

// In a directory of another user, that user could replace the new socket by a symbolic link, and a
// file of root's got the socket's mode: 7 of 60 starts lost that race.
func TestOwnerAndModeFollowNoLink(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	must(t, os.WriteFile(secret, nil, 0o600))
	for name, put := range map[string]func(path string) error{
		"symbolic link": func(path string) error { return os.Symlink(secret, path) },
		"hard link":     func(path string) error { return os.Link(secret, path) },
	} {
		path := filepath.Join(dir, name)
		must(t, put(path))
		err := setOwnerAndMode(Spec{scheme: schemeUnix, address: path, mode: 0o666, uid: unset, gid: unset})
		if info, statErr := os.Stat(secret); statErr != nil || err == nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, and the file has mode %v", name, err, info.Mode())
		}
		err = setOwnerAndMode(Spec{scheme: schemeUnix, address: path, mode: unset, uid: os.Getuid(), gid: os.Getgid()})
		if err == nil {
			t.Errorf("%s: its owner was set", name)
		}
	}
}
