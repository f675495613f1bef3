package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/simulate/console"
	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
)

// recordSink receives lines and counts how often each has come.
type recordSink struct {
	ln      net.Listener
	running sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	lines map[string]int
	got   func() // called when a line has come
}

// startRecordSink starts a sink, which acknowledges lines if answer is set. It ends with the test,
// or with stop.
func startRecordSink(t *testing.T, answer bool) *recordSink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &recordSink{ln: ln, lines: map[string]int{}, got: func() {}}
	s.running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() { s.read(c, answer) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *recordSink) addr() string { return s.ln.Addr().String() }

func (s *recordSink) read(c net.Conn, answer bool) {
	defer c.Close()
	for in := bufio.NewScanner(c); in.Scan(); {
		s.mu.Lock()
		s.lines[in.Text()]++
		s.got()
		s.mu.Unlock()
		if answer {
			c.Write([]byte("ok 1\n"))
		}
	}
}

func (s *recordSink) stop() {
	s.ln.Close()
	s.running.Wait()
}

// compare returns a summary, given as JSON, and how many of its lines did not come, came more than
// once, or are not in it.
func (s *recordSink) compare(t *testing.T, text []byte) (summary send.Summary, wrong int) {
	t.Helper()
	if err := json.Unmarshal(text, &summary); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[uint32]uint64{}
	for line, n := range s.lines {
		id, ok := record.Parse([]byte(line))
		if !ok || n != 1 || id.Seq >= summary.Senders[id.Sender] {
			wrong++
		}
		seen[id.Sender]++
	}
	for sender, sent := range summary.Senders {
		wrong += int(sent - seen[sender])
	}
	return summary, wrong
}

func TestSend(t *testing.T) {
	sink := startRecordSink(t, true)
	var stdout, stderr bytes.Buffer
	args := "-to " + sink.addr() + " -mix stream,request -connections 4 -lines 200 -first-sender 5"
	code := runCommand(t.Context(), "send", strings.Fields(args), &stdout, &stderr)
	sink.stop()
	summary, wrong := sink.compare(t, stdout.Bytes())
	if code != exitOK || wrong > 0 || summary.Lines != 800 || summary.Senders[5] < 200 ||
		summary.Clients[send.Request].Succeeded != 2 {
		t.Errorf("exit code %d, %d lines wrong, summary %s", code, wrong, &stdout)
	}
	for _, want := range []string{"sent 800 lines, ", "stream           2 clients, 2 well\n", "400 requests answered: p50 "} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in %s", want, &stderr)
		}
	}
}

func TestSendFile(t *testing.T) {
	sink := startRecordSink(t, false)
	file := filepath.Join(t.TempDir(), "zeek.log")
	if err := os.WriteFile(file, []byte("one\ntwo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := runCommand(t.Context(), "send", []string{"-to", sink.addr(), "-file", file, "-repeat", "3"}, &stdout, &stderr)
	sink.stop()
	want := map[string]int{"one": 3, "two": 3}
	if code != exitOK || !reflect.DeepEqual(sink.lines, want) || !strings.Contains(stdout.String(), `"numbered":false`) {
		t.Errorf("exit code %d, received %v, %s%s", code, sink.lines, &stdout, &stderr)
	}
}

func TestSendCannotRun(t *testing.T) {
	gone := startRecordSink(t, false)
	gone.stop()
	for args, want := range map[string]string{
		"-to " + gone.addr():                           "connection refused",
		"-to unix:///nonexistent/socket -reconnect":    "no such file",
		"-to " + gone.addr() + " -file /nonexistent/f": "open /nonexistent/f",
	} {
		var stdout, stderr bytes.Buffer
		code := runCommand(t.Context(), "send", strings.Fields(args), &stdout, &stderr)
		if code != exitCannotRun || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) ||
			strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, %q, %q", args, code, &stdout, &stderr)
		}
	}
}

func TestSendToAPeerThatNeverAnswers(t *testing.T) {
	sink := startRecordSink(t, false)
	var stdout, stderr bytes.Buffer
	args := "-to " + sink.addr() + " -mix request -request-timeout 50ms"
	code := runCommand(t.Context(), "send", strings.Fields(args), &stdout, &stderr)
	if code != exitFailed || !strings.Contains(stdout.String(), `"reasons":{"no_answer":1}`) ||
		!strings.Contains(stderr.String(), "1 client, 0 well; failed: 1 no_answer\nlinesplit send: clients failed: 1\n") {
		t.Errorf("exit code %d, %s%s", code, &stdout, &stderr)
	}
}

// The end of the context is like a signal: the lines sent so far are accounted for.
func TestSendInterrupted(t *testing.T) {
	sink := startRecordSink(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink.mu.Lock()
	sink.got = cancel
	sink.mu.Unlock()
	var stdout, stderr bytes.Buffer
	code := runCommand(ctx, "send", strings.Fields("-to "+sink.addr()+" -rate 1000"), &stdout, &stderr)
	sink.stop()
	if summary, wrong := sink.compare(t, stdout.Bytes()); code != exitOK || wrong > 0 || summary.Lines == 0 {
		t.Errorf("exit code %d, %d lines wrong, %s%s", code, wrong, &stdout, &stderr)
	}
}

func TestSendProgressFitsATerminal(t *testing.T) {
	for _, test := range []struct {
		p    send.Progress
		want string
	}{
		{send.Progress{Elapsed: time.Second, Lines: 1234567, Bytes: 890_000_000, Open: 1000, Done: 0.5, Failed: 12, Lost: 3},
			"██████████░░░░░░░░░░  50 %  1,234,567 lines  890 MB/s  1000 open  12 failed  3 connections lost"},
		{send.Progress{Done: -1}, "s  0 lines  0 B/s  0 open"},
	} {
		var out bytes.Buffer
		con := console.NewLive(&out)
		for !con.Due() {
			time.Sleep(time.Millisecond)
		}
		showSending(con, test.p)
		if !strings.HasSuffix(out.String(), test.want) {
			t.Errorf("%q, want %q", &out, test.want)
		}
	}
}
