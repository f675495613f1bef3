package acked

import (
	"bytes"
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

	"linesplit/internal/simulate/sink"
	"linesplit/internal/testcert"
	"linesplit/linebuf"
	"linesplit/target"
)

// rsyslog is a running rsyslogd with imrelp.
type rsyslog struct {
	cmd  *exec.Cmd
	host string
	file string // the messages, one per line
	log  lockedBuffer
}

// startRsyslog starts an rsyslogd that confirms a message when it has written it to a file. With
// input it gets further parameters of its input.
func startRsyslog(t *testing.T, input string) *rsyslog {
	t.Helper()
	const program = "/usr/sbin/rsyslogd"
	modules, _ := filepath.Glob("/usr/lib*/*/rsyslog/imrelp.so")
	if _, err := os.Stat(program); err != nil || len(modules) == 0 {
		t.Skip("rsyslogd or its module imrelp is not installed")
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	must(t, err)
	r := &rsyslog{host: ln.Addr().String()}
	ln.Close()
	dir := t.TempDir()
	r.file = filepath.Join(dir, "messages")
	host, port, _ := net.SplitHostPort(r.host)
	config := filepath.Join(dir, "rsyslog.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
global(workDirectory=%[1]q)
module(load="imrelp")
main_queue(queue.type="Direct")
template(name="raw" type="string" string="%%rawmsg%%\n")
ruleset(name="write") { action(type="omfile" file=%[2]q template="raw") }
input(type="imrelp" address=%[3]q port=%[4]q ruleset="write" %[5]s)
`, dir, r.file, host, port, input), 0o600))
	r.cmd = exec.Command(program, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	must(t, r.cmd.Start())
	t.Cleanup(r.kill)
	return r
}

// kill ends rsyslogd as kill -9 does.
func (r *rsyslog) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// messages returns the whole messages in the file.
func (r *rsyslog) messages(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(r.file)
	must(t, err)
	var all []string
	for line := range bytes.Lines(data) {
		if whole, found := bytes.CutSuffix(line, newline); found { // kill -9 may cut the last one
			all = append(all, string(whole))
		}
	}
	return all
}

// dial connects to it as soon as it listens.
func (r *rsyslog) dial(t *testing.T, scheme, options string, o *Options) *Conn {
	t.Helper()
	a := address(t, scheme+"://"+r.host+options)
	for tries := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := Dial(t.Context(), a, o)
		if err == nil {
			t.Cleanup(c.Close)
			return c
		}
		if time.Now().After(tries) {
			t.Fatalf("%v; rsyslogd: %s", err, r.log.String())
		}
	}
}

// writeBuffers writes buffers until c fails.
func writeBuffers(ctx context.Context, c *Conn, buffers []*linebuf.Buffer) error {
	for i, b := range buffers {
		more := i+1 < len(buffers) && !b.Batch.IsZero() && buffers[i+1].Batch == b.Batch
		c.Announce(b, len(b.B), more)
		if _, err := c.Write(b.B, ctx.Err); err != nil {
			return err
		}
	}
	return nil
}

// A real rsyslogd gets all lines in order, although it is killed in their middle: the next one gets
// those that were not acknowledged.
func TestRsyslogKilled(t *testing.T) {
	const lines, options = 20_000, "?batch-lines=1000"
	first := startRsyslog(t, "")
	o := &Options{Rejects: testRejects(t, io.Discard), Version: "test"}
	var left []*linebuf.Buffer
	for i := 0; i < lines; i += 100 {
		left = append(left, buffer(numbered(i, i+100)...))
	}
	c := first.dial(t, target.SchemeRELP, options, o)
	killed := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		err := writeBuffers(t.Context(), c, left[:len(left)/2])
		<-killed
		if err == nil {
			err = writeBuffers(t.Context(), c, left[len(left)/2:])
		}
		if err == nil || err != c.Progress().Err {
			t.Error(err)
		}
	})
	waitFor(t, c, func(p target.Progress) bool { return p.Acked > 3000*uint64(len("{}\n")) || p.Err != nil })
	first.kill()
	close(killed)
	p := waitFor(t, c, failed)
	writing.Wait()
	t.Log(p.Err)
	n, size := 0, uint64(len(left[0].B)) // buffers that were acknowledged as a whole
	for ; size <= p.Acked; size += uint64(len(left[n].B)) {
		n++
	}
	second := startRsyslog(t, "")
	c = second.dial(t, target.SchemeRELP, options, o)
	left = left[n:]
	must(t, writeBuffers(t.Context(), c, left))
	rest := 0
	for _, b := range left {
		rest += len(b.B)
	}
	if p := waitFor(t, c, acknowledged(rest)); p.Err != nil || p.RejectedLines > 0 {
		t.Fatalf("%+v", p)
	}
	want, before, after := numbered(0, lines), first.messages(t), second.messages(t)
	if !slices.Equal(before, want[:len(before)]) || len(before) < 100*n {
		t.Errorf("the first rsyslogd has %d messages, want at least the first %d", len(before), 100*n)
	}
	if !slices.Equal(after, want[100*n:]) {
		t.Errorf("the second rsyslogd has %d messages, want the last %d", len(after), lines-100*n)
	}
	t.Logf("%d acknowledged, %d written before the kill, %d after it", 100*n, len(before), len(after))
}

// imrelp speaks TLS from the first byte, as relp+tls does. A session that is closed leaves nothing
// in the log of rsyslogd.
func TestRsyslogSession(t *testing.T) {
	cert := testcert.New(t, t.TempDir())
	secure := fmt.Sprintf("tls=%q tls.caCert=%q tls.myCert=%q tls.myPrivKey=%q tls.authMode=%q tls.permittedPeer=%q",
		"on", cert.CA, cert.ServerCert, cert.ServerKey, "name", "localhost")
	for scheme, input := range map[string]string{target.SchemeRELP: "", target.SchemeRELPTLS: secure} {
		t.Run(scheme, func(t *testing.T) {
			r := startRsyslog(t, input)
			o := &Options{Rejects: testRejects(t, io.Discard), Version: "test"}
			o.Dial.TLS = cert.ClientTLS
			r.dial(t, scheme, "", o).Close() // it listens now
			s, err := dialRELP(t.Context(), address(t, scheme+"://"+r.host), o)
			must(t, err)
			want := append(numbered(0, 2000), "", "<13>a header", strings.Repeat("x", 8000))
			for range 2 {
				if refused, err := s.Send(t.Context(), part(want...)); err != nil || refused != nil {
					t.Fatal(refused, err)
				}
			}
			s.Close()
			if got := r.messages(t); !slices.Equal(got, slices.Concat(want, want)) {
				t.Errorf("%d messages", len(got))
			}
			if log := r.log.String(); strings.Contains(log, "imrelp") {
				t.Error(log)
			}
		})
	}
}
