package listen

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/accept"
)

func TestUnixListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln := mustOpen(t, "unix://"+path+"?mode=0620")
	if ln.Addr().String() != path || accept.Name(ln) != "unix://"+path {
		t.Errorf("address %v, name %s", ln.Addr(), accept.Name(ln))
	}
	if got := mode(t, path); got != 0o620 {
		t.Errorf("mode %o, want 0620", got)
	}
	near, far := connect(t, ln)
	if _, ok := far.(*net.UnixConn); !ok {
		t.Errorf("Accept returned a %T", far)
	}
	exchange(t, near, far)
	must(t, ln.Close())
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close the file is still there: %v", err)
	}
	exchange(t, near, far)
	if err := ln.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// The stale socket file of a killed process is replaced, with the mode requested now.
func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	makeStale(t, path)
	ln := mustOpen(t, "unix://"+path+"?mode=0600")
	defer ln.Close()
	meet(t, ln)
	if got := mode(t, path); got != 0o600 {
		t.Errorf("mode %o, want 0600", got)
	}
}

func TestSocketInUseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	live := mustOpen(t, "unix://"+path+"?mode=0640")
	defer live.Close()
	before, err := os.Lstat(path)
	must(t, err)

	_, err = Open(t.Context(), mustParse(t, "unix://"+path+"?mode=0666"), nil, nil)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "unix://"+path) {
		t.Errorf("got %v, want that it is in use", err)
	}
	after, err := os.Lstat(path)
	must(t, err)
	if !os.SameFile(before, after) || mode(t, path) != 0o640 {
		t.Errorf("the live socket was touched: %v", after.Mode())
	}
	probe, err := live.Accept() // the test for a listening program arrives as an empty connection
	must(t, err)
	must(t, probe.Close())
	meet(t, live)
}

func TestDatagramSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenPacket("unixgram", path)
	must(t, err)
	defer conn.Close()
	_, err = Open(t.Context(), mustParse(t, "unix://"+path), nil, nil)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want that it is in use", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestFileIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	makeStale(t, filepath.Join(dir, "stale"))
	must(t, os.Symlink("stale", link))
	for _, path := range []string{file, link, dir} {
		_, err := Open(t.Context(), mustParse(t, "unix://"+path), nil, nil)
		if err == nil || !strings.Contains(err.Error(), "not a socket: it is left alone") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if data, err := os.ReadFile(file); string(data) != "precious" {
		t.Errorf("the file holds %q, %v", data, err)
	}
	if _, err := os.Readlink(link); err != nil {
		t.Error(err)
	}
}

func TestMissingDirectoryIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := Open(t.Context(), mustParse(t, "unix://"+dir+"/s"), nil, nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "directory "+dir) {
		t.Errorf("got %v", err)
	}
}

// Close does not remove a file that has replaced the listener's own.
func TestCloseRemovesOnlyItsOwnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := mustOpen(t, "unix://"+path)
	must(t, os.Remove(path))
	second := mustOpen(t, "unix://"+path)
	defer second.Close()
	must(t, first.Close())
	meet(t, second)
}

// Of several processes that find the same stale file at once, one gets the path and keeps it.
// Without the lock a slower one sometimes removed the new socket of a faster one.
func TestOneOfManyReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := mustParse(t, "unix://"+path+"?mode=0600")
	for range 200 {
		makeStale(t, path)
		var winner atomic.Pointer[net.Listener]
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				ln, err := Open(t.Context(), s, nil, nil)
				switch {
				case err == nil && !winner.CompareAndSwap(nil, &ln):
					t.Error("two listeners have the same path")
					ln.Close()
				case err != nil && !errors.Is(err, syscall.EADDRINUSE):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if winner.Load() == nil {
			t.Fatal("no listener got the path")
		}
		ln := *winner.Load()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Errorf("the winner does not have the path: %v", err)
		} else {
			conn.Close()
		}
		must(t, ln.Close())
	}
}

func TestOpenWaitsForTheLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), dir+"/s")
	must(t, err)
	opened := make(chan error, 1)
	go func() {
		ln, err := Open(t.Context(), mustParse(t, "unix://"+dir+"/s"), nil, nil)
		if err == nil {
			err = ln.Close()
		}
		opened <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, mustParse(t, "unix://"+dir+"/s"), nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lock "+dir+"/s") {
		t.Errorf("got %v, want that the lock is held", err)
	}
	unlock()
	must(t, <-opened)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func makeStale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	ln.SetUnlinkOnClose(false)
	must(t, ln.Close())
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Mode().Perm()
}
