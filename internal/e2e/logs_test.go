//go:build linux

package e2e

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// Whoever reads the logs may go away or stop. That must neither end linesplit nor hold up a connection or the end.
func TestNobodyReadsTheLogs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		gone bool
	}{{"gone", true}, {"stopped", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := testrig.NewServer(t, testrig.ServerOptions{})
			free, err := testrig.ListenAlone()
			if err != nil {
				t.Fatal(err)
			}
			addr := free.Addr().String()
			free.Close()

			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if _, err := unix.FcntlInt(writer.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
				t.Fatal(err)
			}
			p := exec.Command(testrig.Binary(t), "-mode", "connection", "-listen", "tcp://"+addr, "-target", server.Target(),
				"-access-log", "text", "-log-level", "debug", "-drain-timeout", "2s")
			p.Stdout, p.Stderr = writer, writer
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Process.Kill(); p.Wait() })
			writer.Close()
			if !testrig.Poll(testrig.Patience, func() bool { return answers(addr) }) {
				t.Fatal("linesplit does not accept")
			}
			if tt.gone {
				reader.Close()
			}
			for range 200 { // far more than the pipe holds
				if err := (testrig.Client{}).Echo(t, addr, testrig.Payload(100)); err != nil {
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

func answers(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
