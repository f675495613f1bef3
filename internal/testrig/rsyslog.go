//go:build linux

package testrig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Rsyslog is a real rsyslogd that takes messages by RELP and writes them to a file before it
// acknowledges them. The file outlives restarts.
type Rsyslog struct {
	tb   testing.TB
	dir  string
	addr HostPort
	cmd  *exec.Cmd
	log  *output
}

// StartRsyslog starts one, or skips the test. It ends with the test.
func StartRsyslog(t *testing.T) *Rsyslog {
	t.Helper()
	modules, _ := filepath.Glob("/usr/lib*/*/rsyslog/imrelp.so")
	if _, err := os.Stat(rsyslogd); err != nil || len(modules) == 0 {
		t.Skip("needs rsyslog with RELP: install Debian's packages rsyslog and rsyslog-relp")
	}
	r := &Rsyslog{tb: t, dir: t.TempDir(), addr: FreeHostPort(t)}
	r.Start()
	t.Cleanup(r.Kill)
	return r
}

const rsyslogd = "/usr/sbin/rsyslogd"

// Start starts it where it was, and waits until it listens.
func (r *Rsyslog) Start() {
	r.tb.Helper()
	host, port, _ := net.SplitHostPort(string(r.addr))
	config := filepath.Join(r.dir, "rsyslog.conf")
	text := fmt.Sprintf(`
global(workDirectory=%[1]q maxMessageSize="64k")
module(load="imrelp")
main_queue(queue.type="Direct")
template(name="raw" type="string" string="%%rawmsg%%\n")
ruleset(name="write") { action(type="omfile" file=%[2]q template="raw") }
input(type="imrelp" address=%[3]q port=%[4]q ruleset="write" maxDataSize="64k")
`, r.dir, r.file(), host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		r.tb.Fatal(err)
	}
	pid := filepath.Join(r.dir, "pid")
	os.Remove(pid) // a killed one leaves it behind
	r.log = &output{}
	r.cmd = exec.Command(rsyslogd, "-n", "-f", config, "-i", pid)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.tb.Fatalf("rsyslogd: %v", err)
	}
	WaitFor(r.tb, "rsyslogd listens", r.addr.Listening)
}

// Kill ends it as kill -9 does.
func (r *Rsyslog) Kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// Target returns its address.
func (r *Rsyslog) Target() string { return "relp://" + string(r.addr) }

func (r *Rsyslog) file() string { return filepath.Join(r.dir, "messages") }

// CountInto counts the messages that it has into t.
func (r *Rsyslog) CountInto(t *Tally) {
	r.tb.Helper()
	text, err := os.ReadFile(r.file())
	if err != nil {
		r.tb.Fatal(err)
	}
	reader := t.Reader()
	reader.Feed(text)
	reader.End(false) // kill -9 may cut the last one
}
