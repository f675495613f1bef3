//go:build linux

package e2e

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// busyServer answers one client at a time, in 20 ms, on a Unix socket with a backlog of 4.
func busyServer(t *testing.T) testrig.Target {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := ln.(*net.UnixListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	socket.Control(func(fd uintptr) { err = unix.Listen(int(fd), 4) })
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(testrig.Patience))
			request, _ := io.ReadAll(conn)
			time.Sleep(20 * time.Millisecond)
			conn.Write(request)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return testrig.TargetFlag("unix://" + path)
}

// A full backlog failed each check of a Unix target in 0 ms, and three failed checks in a row took
// a busy server out of use: most of these clients were reset.
func TestBusyUnixTargetIsNotDown(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := busyServer(t)
	s.StartConnectionMode([]testrig.Target{server}, "-health", "tcp", "-health-interval", "200ms",
		"-dial-timeout", "30s", "-dial-budget", "1m") // the last client may wait for ten seconds on a busy machine
	s.WaitForTargetUp(server, true)
	s.EchoMany(testrig.Client{}, 120, 120, testrig.FixedSize(1000))
	if n := s.CountLogLines("target down"); n > 0 {
		t.Errorf("the target was down %d times", n)
	}
	s.FinishConnectionMode()
}
