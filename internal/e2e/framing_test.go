//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/testrig"
)

// listener is a target that keeps what each of its connections has brought.
type listener struct {
	*testrig.Server
	framing framing.Framing
	mu      sync.Mutex
	conns   []*strings.Builder
}

func newListener(t *testing.T, f framing.Framing) *listener {
	l := &listener{framing: f}
	l.Server = testrig.NewServer(t, testrig.ServerOptions{Handler: l.keep})
	return l
}

func (l *listener) keep(conn net.Conn) {
	all := &strings.Builder{}
	l.mu.Lock()
	l.conns = append(l.conns, all)
	l.mu.Unlock()
	b := make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		l.mu.Lock()
		all.Write(b[:n])
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *listener) Target() string { return l.Server.Target() + "?framing=" + l.framing.String() }

// records returns the whole records that have arrived, without their framing. A connection that has
// brought something else fails the test.
func (l *listener) records(t *testing.T) (records []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		all := []byte(conn.String())
		for len(all) > 0 {
			if l.framing == framing.Octet {
				if head, _ := framing.Header(all); head < 0 {
					t.Fatalf("no count at %.50q", all)
				}
			}
			if l.framing.Count(all) == 0 {
				break
			}
			end := l.framing.End(all, 1)
			record := string(all[:end])
			if head, _ := framing.Header(all); l.framing == framing.Octet {
				record = record[head:]
			} else {
				record = record[:len(record)-1]
			}
			records = append(records, record)
			all = all[end:]
		}
	}
	return records
}

// allRecords waits until the targets have n records, and returns them in order.
func allRecords(t *testing.T, n int, targets ...*listener) (all []string) {
	t.Helper()
	testrig.Poll(testrig.Patience, func() bool {
		all = nil
		for _, l := range targets {
			all = append(all, l.records(t)...)
		}
		return len(all) >= n
	})
	slices.Sort(all)
	return all
}

// Each target gets all that it gets in its own framing, with newlines within records where it can
// hold them.
func TestEachTargetHasItsFraming(t *testing.T) {
	t.Parallel()
	const n = 3000
	s := testrig.NewStage(t)
	lines, counted, nuls := newListener(t, framing.Newline), newListener(t, framing.Octet), newListener(t, framing.NUL)
	s.StartLineMode([]testrig.Target{lines, counted, nuls}, "-listen", "tcp://127.0.0.1:0?framing=octet")
	var want []string
	conn := s.Dial()
	for i := range n {
		record := fmt.Sprintf("<13>%04d a record\nof %d lines\n", i, i%7) + strings.Repeat("\n\t.", i%7) + "end"
		s.Write(conn, fmt.Appendf(nil, "%d %s", len(record), record))
		want = append(want, record)
	}
	conn.Close()
	s.OtherLines = n
	got := allRecords(t, n, lines, counted, nuls)
	for i, record := range got {
		if strings.Contains(record, `\n`) {
			got[i] = strings.ReplaceAll(record, `\n`, "\n")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), n)
	}
	for _, l := range []*listener{lines, counted, nuls} {
		if len(l.records(t)) == 0 {
			t.Errorf("no record went to %s", l.Target())
		}
		for _, record := range l.records(t) {
			if strings.Contains(record, "\n") != (l.framing != framing.Newline) {
				t.Fatalf("%s got %q", l.Target(), record)
			}
		}
	}
	m := s.WaitForLedger()
	if altered := m.Sum("linesplit_altered_lines_total"); altered != float64(len(lines.records(t))) {
		t.Errorf("%v lines altered, want %d", altered, len(lines.records(t)))
	}
	s.Terminate(0)
}

// After a target has died in the middle of a record, its records go whole to another target, in
// that one's framing.
func TestRecordsGoWholeToTheNextTarget(t *testing.T) {
	t.Parallel()
	const n = 200
	s := testrig.NewStage(t)
	var first sync.Once
	dying := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		first.Do(func() { io.ReadFull(conn, make([]byte, 5000)) }) // which is within a record
		conn.(*net.TCPConn).SetLinger(0)
	}})
	next := newListener(t, framing.NUL)
	s.StartLineMode([]testrig.Target{testrig.WithOptions(dying, "framing=octet"), next},
		"-listen", "tcp://127.0.0.1:0?framing=auto", "-connections", "1")
	var want []string
	conn := s.Dial()
	for i := range n {
		record := fmt.Sprintf("<13>%04d ", i) + strings.Repeat("a\nb", 100)
		s.Write(conn, fmt.Appendf(nil, "%d %s", len(record), record))
		want = append(want, record)
	}
	conn.Close()
	dying.Close()
	var got []string
	testrig.WaitFor(t, "all records", func() bool {
		got = next.records(t)
		slices.Sort(got)
		got = slices.Compact(got)
		return len(got)+5000/len(want[0]) >= n
	})
	for _, record := range got {
		if !slices.Contains(want, record) {
			t.Fatalf("a record that was never sent: %q", record)
		}
	}
	s.WaitForLedger()
	s.Terminate(0)
}

// The lines of a stack trace were spread over all targets.
func TestStackTracesGoWhole(t *testing.T) {
	t.Parallel()
	const senders, traces = 3, 50
	s := testrig.NewStage(t)
	lines, counted := newListener(t, framing.Newline), newListener(t, framing.Octet)
	s.StartLineMode([]testrig.Target{lines, counted}, "-record-start", `^\S`, "-record-wait", "1m")
	var want []string
	for i := range senders {
		conn := s.Dial()
		for j := range traces {
			trace := fmt.Sprintf("error %d %02d", i, j) + strings.Repeat("\n\tat a function", j%5)
			want = append(want, trace)
			half := len(trace) / 2 // in two writes, so that it may come in two reads
			s.Write(conn, []byte(trace[:half]))
			s.Write(conn, []byte(trace[half:]+"\n"))
		}
		conn.Close()
	}
	got := allRecords(t, len(want), lines, counted)
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], `\n`, "\n")
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d records, want %d: %q", len(got), len(want), got)
	}
	s.WaitForLedger()
	s.Terminate(0)
}

// Programs that people use, each as its sender, at one port.
func TestSendersOfOtherFramings(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(t *testing.T, port string){
		"rsyslog": sendByRsyslog, "syslog-ng": sendBySyslogNG, "python": sendByPython, "logger": sendByLogger,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			counted := newListener(t, framing.Octet)
			s.StartLineMode([]testrig.Target{counted}, "-listen", "tcp://127.0.0.1:0?framing=auto")
			_, port, _ := net.SplitHostPort(s.Process.Listeners[0])
			send(t, port)
			got := allRecords(t, 3, counted)
			for i, record := range got {
				if len(got) != 3 || !strings.HasPrefix(record, "<") || !strings.Contains(record, fmt.Sprintf("record %d", i+1)) {
					t.Errorf("%d: %q", i, record)
				}
			}
			if name != "logger" && !strings.Contains(strings.Join(got, ""), "record 2\nand more") {
				t.Errorf("no newline within a record: %q", got)
			}
			s.WaitForLedger()
			s.Terminate(0)
		})
	}
}

// find returns the path of a program, or skips the test.
func find(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("no %s", program)
	}
	return path
}

func runSender(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testrig.Patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func sendByPython(t *testing.T, port string) {
	runSender(t, find(t, "python3"), "-c", `
import logging, logging.handlers, socket, sys
handler = logging.handlers.SysLogHandler(("127.0.0.1", int(sys.argv[1])), socktype=socket.SOCK_STREAM)
log = logging.getLogger()
log.addHandler(handler)
for text in "record 1", "record 2\nand more", "record 3":
    log.warning(text)
logging.shutdown()
`, port)
}

func sendByLogger(t *testing.T, port string) {
	for i := range 3 {
		runSender(t, find(t, "logger"), "--tcp", "--octet-count", "-n", "127.0.0.1", "-P", port,
			fmt.Sprintf("record %d", i+1))
	}
}

// sendByRsyslog has rsyslog take records from a Unix socket and forward them with octet counting.
func sendByRsyslog(t *testing.T, port string) {
	rsyslogd, dir := find(t, "rsyslogd"), t.TempDir()
	socket := filepath.Join(dir, "in")
	config := filepath.Join(dir, "rsyslog.conf")
	text := fmt.Sprintf(`
global(workDirectory=%[1]q parser.escapeControlCharactersOnReceive="off")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket=%[2]q CreatePath="on" UseSysTimeStamp="off" RateLimit.Interval="0")
action(type="omfwd" target="127.0.0.1" port=%[3]q protocol="tcp" TCP_Framing="octet-counted"
       template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
`, dir, socket, port)
	sendThrough(t, socket, config, text, rsyslogd, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
}

// sendBySyslogNG has syslog-ng do the same. Its syslog() counts octets. Debian installs one of the
// two programs, not both.
func sendBySyslogNG(t *testing.T, port string) {
	syslogNG, dir := find(t, "syslog-ng"), t.TempDir()
	socket := filepath.Join(dir, "in")
	config := filepath.Join(dir, "syslog-ng.conf")
	text := fmt.Sprintf(`@version: 3.38
source in { unix-dgram(%[1]q); };
destination out { syslog("127.0.0.1" transport("tcp") port(%[2]s)); };
log { source(in); destination(out); };
`, socket, port)
	sendThrough(t, socket, config, text, syslogNG, "--foreground", "--stderr", "--no-caps", "--cfgfile="+config,
		"--persist-file="+filepath.Join(dir, "persist"), "--pidfile="+filepath.Join(dir, "pid"),
		"--control="+filepath.Join(dir, "control"))
}

// sendThrough starts a program with a configuration, and sends it records through the Unix socket
// that it opens.
func sendThrough(t *testing.T, socket, config, text, program string, args ...string) {
	t.Helper()
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // nothing is left to write: all records have arrived
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, &log)
		}
	})
	var conn net.Conn
	testrig.WaitFor(t, program, func() (ok bool) {
		var err error
		conn, err = net.DialTimeout("unixgram", socket, time.Second)
		return err == nil
	})
	defer conn.Close()
	for _, record := range []string{"record 1", "record 2\nand more", "record 3"} {
		if _, err := fmt.Fprintf(conn, "<13>Nov 29 12:00:00 test: %s", record); err != nil {
			t.Fatal(err)
		}
	}
}
