//go:build linux

package e2e

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/testrig"
)

// At the automatic maximum of clients every descriptor that was left belonged to clients of the
// admin listener and to connections to targets together: a crowd at the admin listener took those
// of the targets, and probes found none.
func TestDescriptorsSufficeForAllCrowdsTogether(t *testing.T) {
	t.Parallel()
	const files = 400
	for _, mode := range []string{"line", "connection"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			o := testrig.NewProcessOptions([]testrig.Target{sink}, "-mode", mode)
			o.Files = files
			s.Process = testrig.StartProcess(t, o)
			silent(t, s.Process.Listeners[0], files)
			testrig.WaitFor(t, "clients are at their limit", func() bool {
				m, err := s.Process.Scrape()
				return err == nil && (m.Sum("linesplit_connections") >= files/5) &&
					(mode == "line" || m.Sum("linesplit_connections_refused_total") > 0)
			})
			silent(t, s.Process.Admin, 200)
			d := door{network: "tcp", address: s.Process.Admin}
			if failed := d.failures(20, "/healthz", "/metrics"); len(failed) > 0 { // /readyz says 503 at the limit
				t.Errorf("%d of 40 requests failed, such as %v", len(failed), failed[0])
			}
			if m := s.Process.Metrics(); m.Sum("linesplit_accept_errors_total") > 0 || m.Sum("linesplit_target_up") != 1 {
				t.Errorf("descriptors are lacking:\n%s", m.Dump())
			}
			if log := s.Process.Stderr(); strings.Contains(log, "too many open files") {
				t.Errorf("descriptors are lacking:\n%s", s.Process.LastLines(10))
			}
		})
	}
}

// silent opens connections that send nothing, until the test ends.
func silent(t *testing.T, address string, n int) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNRESET) { // refused at the limit
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// A -max-connections beyond the limit of descriptors was accepted, and at the limit the target was
// said to be down.
func TestTooManyConnectionsAreRefusedAtStart(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"line", "connection"} {
		o := testrig.NewProcessOptions([]testrig.Target{testrig.TargetFlag("127.0.0.1:9")}, "-mode", mode, "-max-connections", "1000")
		o.Files, o.Listeners = 512, 0
		p := testrig.StartProcess(t, o)
		if code := p.Wait(); code == 0 || !strings.Contains(p.Stderr(), "-max-connections 1000 does not fit the limit of 512 open files") {
			t.Errorf("%s mode: exit code %d\n%s", mode, code, p.Stderr())
		}
	}
}
