//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// The program that reads the logs may end or stop reading. Linesplit must go on, and neither
// connections nor its end may wait for the logs.
func TestLogsWithoutAReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		ended bool
	}{{"ended", true}, {"stopped", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := testrig.NewServer(t, testrig.ServerOptions{})
			addr := testrig.FreeHostPort(t)
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if _, err := unix.FcntlInt(writer.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
				t.Fatal(err)
			}
			p := exec.Command(testrig.Binary(t), "-mode", "connection", "-listen", addr.Target(), "-target",
				server.Target(),
				"-access-log", "text", "-log-level", "debug", "-drain-timeout", "2s")
			p.Stdout, p.Stderr = writer, writer
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Process.Kill(); p.Wait() })
			writer.Close()
			testrig.WaitFor(t, "linesplit listens", addr.Listening)
			if tt.ended {
				reader.Close()
			}
			for range 200 { // far more than the pipe holds
				if err := (testrig.Client{}).Echo(t, string(addr), testrig.Payload(100)); err != nil {
					t.Fatal(err)
				}
			}
			p.Process.Signal(syscall.SIGTERM)
			limit := time.AfterFunc(testrig.Patience, func() { p.Process.Kill() })
			defer limit.Stop()
			if err := p.Wait(); err != nil {
				t.Errorf("linesplit ended with %v, want exit code 0", err)
			}
		})
	}
}
