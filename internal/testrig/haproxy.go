//go:build linux

package testrig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/simulate/sink"
)

// FindHAProxy returns the path of HAProxy, or skips the test.
func FindHAProxy(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Skip("needs HAProxy: install Debian's package haproxy to measure a proxy between linesplit and its targets")
	return ""
}

// StartHAProxy starts an HAProxy that forwards one TCP port to each backend, and returns the
// addresses of its ports. All addresses are host:port.
func StartHAProxy(tb testing.TB, haproxy string, backends ...string) []string {
	tb.Helper()
	config := &strings.Builder{}
	config.WriteString("defaults\n mode tcp\n retries 0\n" +
		" timeout connect 1s\n timeout client 1m\n timeout server 1m\n")
	var addrs []string
	for i, backend := range backends {
		ln, err := ListenAlone()
		if err != nil {
			tb.Fatalf("haproxy: %v", err)
		}
		sink.CloseListener(ln)
		addrs = append(addrs, ln.Addr().String())
		fmt.Fprintf(config, "listen l%d\n bind %s\n server s %s\n", i, addrs[i], backend)
	}
	file := filepath.Join(tb.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		tb.Fatalf("haproxy: %v", err)
	}
	log := &output{}
	cmd := exec.Command(haproxy, "-db", "-f", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		tb.Fatalf("haproxy: %v", err)
	}
	tb.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for _, addr := range addrs {
		WaitFor(tb, "haproxy listens", HostPort(addr).Listening)
	}
	return addrs
}
