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

// RsyslogClient is a real rsyslogd that follows a file and sends its lines over RELP.
type RsyslogClient struct {
	tb   testing.TB
	dir  string
	cmd  *exec.Cmd
	log  *output
	file *os.File
}

// StartRsyslogClient starts one that sends to an address, or skips the test. It ends with the test.
func StartRsyslogClient(t *testing.T, to HostPort) *RsyslogClient {
	t.Helper()
	modules, _ := filepath.Glob("/usr/lib*/*/rsyslog/omrelp.so")
	if _, err := os.Stat(rsyslogd); err != nil || len(modules) == 0 {
		t.Skip("needs rsyslog with RELP: install Debian's packages rsyslog and rsyslog-relp")
	}
	c := &RsyslogClient{tb: t, dir: t.TempDir()}
	file, err := os.Create(filepath.Join(c.dir, "lines"))
	if err != nil {
		t.Fatal(err)
	}
	c.file = file
	t.Cleanup(func() { file.Close() })
	c.start(to)
	t.Cleanup(func() { c.cmd.Process.Kill(); c.cmd.Wait() })
	return c
}

func (c *RsyslogClient) start(to HostPort) {
	c.tb.Helper()
	host, port, _ := net.SplitHostPort(string(to))
	config := filepath.Join(c.dir, "rsyslog.conf")
	text := fmt.Sprintf(`
global(workDirectory=%[1]q maxMessageSize="64k")
module(load="imfile")
module(load="omrelp")
main_queue(queue.type="LinkedList" queue.timeoutEnqueue="60000")
template(name="line" type="string" string="%%msg%%")
input(type="imfile" file=%[2]q tag="lines:" persistStateInterval="1")
action(type="omrelp" target=%[3]q port=%[4]q template="line" timeout="10"
	action.resumeRetryCount="-1" action.resumeInterval="1" action.resumeIntervalMax="1")
`, c.dir, c.file.Name(), host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		c.tb.Fatal(err)
	}
	c.log = &output{}
	c.cmd = exec.Command(rsyslogd, "-n", "-f", config, "-i", filepath.Join(c.dir, "pid"))
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		c.tb.Fatal(err)
	}
}

// Write appends lines to the file.
func (c *RsyslogClient) Write(lines []byte) {
	c.tb.Helper()
	if _, err := c.file.Write(lines); err != nil {
		c.tb.Fatal(err)
	}
}

// Log returns what it has written to its output.
func (c *RsyslogClient) Log() string { return c.log.String() }
