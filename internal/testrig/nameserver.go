//go:build linux

package testrig

import (
	"cmp"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// NameServerOptions configure a NameServer.
type NameServerOptions struct {
	Addr  string   // IP:PORT to listen at
	TTL   int      // seconds that its answers are valid
	Hosts []string // what it answers at first, as Set takes it
	Args  []string // beside those that NameServer needs
}

// NameServer is dnsmasq, which knows the names of the domain test that a file lists. It belongs to
// the test's goroutine.
type NameServer struct {
	tb    testing.TB
	addr  string
	hosts string // the file
	cmd   *exec.Cmd
}

// StartNameServer starts dnsmasq, or skips the test where there is none. It ends with the test.
func StartNameServer(tb testing.TB, o NameServerOptions) *NameServer {
	tb.Helper()
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		tb.Skip("needs dnsmasq: apt-get install dnsmasq-base")
	}
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		tb.Fatalf("name server: %v", err)
	}
	s := &NameServer{tb: tb, addr: o.Addr, hosts: filepath.Join(tb.TempDir(), "hosts")}
	s.Set(o.Hosts...)
	args := []string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
		"--user=", "--addn-hosts=" + s.hosts, "--local=/test/", "--local-ttl=" + strconv.Itoa(cmp.Or(o.TTL, 5)),
		"--bind-interfaces", "--listen-address=" + host, "--port=" + port}
	s.cmd = exec.Command(program, append(args, o.Args...)...)
	if err := s.cmd.Start(); err != nil {
		tb.Fatalf("name server: %v", err)
	}
	tb.Cleanup(s.Kill)
	WaitFor(tb, "dnsmasq listens", func() bool { return HostPort(s.addr).Listening() })
	return s
}

// Addr returns the address as -resolver takes it.
func (s *NameServer) Addr() string { return s.addr }

// Set replaces what the server knows, as lines of "ADDRESS NAME". It takes a moment to answer so.
func (s *NameServer) Set(lines ...string) {
	s.tb.Helper()
	text := strings.Join(lines, "\n") + "\n"
	err := os.WriteFile(s.hosts+".new", []byte(text), 0o644)
	if err == nil {
		err = os.Rename(s.hosts+".new", s.hosts) // it never reads half of it
	}
	if err != nil {
		s.tb.Fatalf("name server: %v", err)
	}
	if s.cmd != nil {
		s.Signal(syscall.SIGHUP)
	}
}

// Signal sends a signal to the server.
func (s *NameServer) Signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("name server: %v", err)
	}
}

// Kill ends the server. It may be called again.
func (s *NameServer) Kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}
