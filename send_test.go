package main

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
	"linesplit/internal/testcert"
)

func TestSendFlags(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, test := range []struct {
		args string
		want func(*sendSettings) // what differs from the defaults
	}{
		{"-to 10.0.0.1:9000", func(s *sendSettings) {}},
		{"-to tcp://10.0.0.1:9000", func(s *sendSettings) {}},
		{"-to 10.0.0.1:9000,unix://@x -to unix:///run/x.sock", func(s *sendSettings) {
			s.To = append(s.To, send.Dial{Network: "unix", Address: "@x"}, send.Dial{Network: "unix", Address: "/run/x.sock"})
		}},
		{"-to 10.0.0.1:9000 -mix stream=15,request=50", func(s *sendSettings) {
			s.Mix = send.Mix{{Kind: send.Stream, Weight: 15}, {Kind: send.Request, Weight: 50}}
		}},
		{"-to 10.0.0.1:9000 -connections 7 -clients-per-second 0.5 -clients 9 -duration 1m -lines 10 -rate 2.5 -line-length 100-1KiB", func(s *sendSettings) {
			s.Connections, s.ClientsPerSecond, s.Clients, s.Duration, s.Lines, s.Rate = 7, 0.5, 9, time.Minute, 10, 2.5
			s.Length = record.Length{Min: 100, Max: 1024}
		}},
		{"-to 10.0.0.1:9000 -slow-pause 1s -first-sender 100 -reconnect -dial-timeout 1s -request-timeout 2s -grace 3s", func(s *sendSettings) {
			s.Pause, s.FirstSender, s.Reconnect, s.DialTimeout, s.Timeout, s.Grace = time.Second, 100, true, time.Second, 2*time.Second, 3*time.Second
		}},
		{"-to 10.0.0.1:9000 -file - -repeat 0", func(s *sendSettings) { s.file, s.Repeat = "-", -1 }},
		{"-to 10.0.0.1:9000 -file zeek.log -repeat 3", func(s *sendSettings) { s.file, s.Repeat = "zeek.log", 3 }},
	} {
		t.Run(test.args, func(t *testing.T) {
			want := sendSettings{Options: send.Options{
				To: []send.Dial{{Network: "tcp", Address: "10.0.0.1:9000"}}, Mix: send.Mix{{Kind: send.Stream, Weight: 1}}, Repeat: 1,
				Pause: 10 * time.Millisecond, DialTimeout: 5 * time.Second, Timeout: 5 * time.Second, Grace: 5 * time.Second,
			}}
			test.want(&want)
			got, err := parseSend(sendCommand(), strings.Fields(test.args))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v\nwant %+v", got, err, want)
			}
		})
	}

	got, err := parseSend(sendCommand(), []string{"-to", "tls://localhost:1,localhost:2", "-tls-ca", certs.CA, "-tls-cert", certs.ClientCert,
		"-tls-key", certs.ClientKey, "-tls-server-name", "x", "-tls-min-version", "1.3"})
	if err != nil {
		t.Fatal(err)
	}
	if c := got.To[0].TLS; c == nil || c.ServerName != "x" || c.RootCAs == nil || c.GetClientCertificate == nil || c.MinVersion != 0x304 || c.InsecureSkipVerify {
		t.Errorf("TLS configuration %+v", c)
	}
	if got.To[1].TLS != nil {
		t.Error("TLS to an address that does not speak it")
	}
}

// Every fault is named, and all at once; the environment of linesplit itself is none.
func TestSendFaults(t *testing.T) {
	t.Setenv("LINESPLIT_CONNECTIONS", "many")
	for _, test := range []struct {
		args string
		want []string
	}{
		{"", []string{`-to "": nowhere to send to`}},
		{"-to 10.0.0.1", []string{`-to "10.0.0.1": "10.0.0.1" is not host:port`}},
		{"-to udp://h:1,ftp://h:1,h:1?weight=3", []string{`-to "udp://h:1": clients send streams`, `-to "ftp://h:1": unknown scheme`, `-to "h:1?weight=3": no options here`}},
		{"-to h:1 -mix stream=1,talk=3,request=0", []string{`unknown kind "talk"`, `weight "0" of request`}},
		{"-to h:1 -connections 0 -clients -1 -lines x -clients-per-second 0 -rate NaN", []string{"-connections \"0\"", "-clients \"-1\"", "-lines \"x\"", "-clients-per-second \"0\"", "-rate \"NaN\""}},
		{"-to h:1 -duration 10 -line-length 3 -first-sender -1 -repeat x", []string{"-duration \"10\": no unit", "-line-length \"3\"", "-first-sender \"-1\"", "-repeat \"x\""}},
		{"-to h:1 -repeat 3", []string{"-repeat \"3\": of use only with -file"}},
		{"-to h:1 -file /tmp -line-length 100", []string{"-file \"/tmp\": a directory", "-line-length \"100\": the lines of -file"}},
		{"-to h:1 -tls-ca x -tls-skip-verify", []string{"-tls-ca \"x\": no address speaks TLS", "-tls-skip-verify \"true\": no address speaks TLS"}},
		{"-to tls://h:1 -tls-cert x", []string{"-tls-cert \"x\": needs -tls-key too"}},
		{"-to tls://h:1 -tls-ca /nonexistent", []string{"/nonexistent"}},
		{"-to h:1 -mix idle,stream -clients 2", []string{"idle clients would take all connections"}},
		{"-to h:1 -rates 3 now", []string{"unknown flag -rates: did you mean -rate?", `unexpected argument "now": linesplit send takes flags alone`}},
	} {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := sendTool(t.Context(), strings.Fields(test.args), &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 {
				t.Errorf("exit code %d, stdout %q", code, &stdout)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in %s", want, &stderr)
				}
			}
		})
	}
}

func TestSendHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := sendTool(t.Context(), []string{"-help"}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, &stderr)
	}
	for _, o := range sendCommand().options {
		if !strings.Contains(stdout.String(), "\n  -"+o.name) {
			t.Errorf("-%s is not in the help", o.name)
		}
	}
}

// recordSink takes lines until stop. answer says whether it acknowledges them.
type recordSink struct {
	ln      net.Listener
	running sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	lines map[string]int
	got   func() // called when a line has come
}

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

// holdAgainst returns how many lines of a JSON summary did not come, or came more than once.
func (s *recordSink) holdAgainst(t *testing.T, text []byte) (summary send.Summary, wrong int) {
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
	code := sendTool(t.Context(), strings.Fields("-to "+sink.addr()+" -mix stream,request -connections 4 -lines 200 -first-sender 5"), &stdout, &stderr)
	sink.stop()
	summary, wrong := sink.holdAgainst(t, stdout.Bytes())
	if code != exitOK || wrong > 0 || summary.Lines != 800 || summary.Senders[5] < 200 || summary.Clients[send.Request].Succeeded != 2 {
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
	code := sendTool(t.Context(), []string{"-to", sink.addr(), "-file", file, "-repeat", "3"}, &stdout, &stderr)
	sink.stop()
	if want := map[string]int{"one": 3, "two": 3}; code != exitOK || !reflect.DeepEqual(sink.lines, want) || !strings.Contains(stdout.String(), `"numbered":false`) {
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
		code := sendTool(t.Context(), strings.Fields(args), &stdout, &stderr)
		if code != exitCannotRun || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, %q, %q", args, code, &stdout, &stderr)
		}
	}
}

func TestSendToOneWhoNeverAnswers(t *testing.T) {
	sink := startRecordSink(t, false)
	var stdout, stderr bytes.Buffer
	code := sendTool(t.Context(), strings.Fields("-to "+sink.addr()+" -mix request -request-timeout 50ms"), &stdout, &stderr)
	if code != exitFailed || !strings.Contains(stdout.String(), `"reasons":{"no_answer":1}`) ||
		!strings.Contains(stderr.String(), "1 clients, 0 well; failed: 1 no_answer\nlinesplit send: clients failed: 1\n") {
		t.Errorf("exit code %d, %s%s", code, &stdout, &stderr)
	}
}

// The end of the context is that of a signal: what was sent is accounted for.
func TestSendInterrupted(t *testing.T) {
	sink := startRecordSink(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink.mu.Lock()
	sink.got = cancel
	sink.mu.Unlock()
	var stdout, stderr bytes.Buffer
	code := sendTool(ctx, strings.Fields("-to "+sink.addr()+" -rate 1000"), &stdout, &stderr)
	sink.stop()
	if summary, wrong := sink.holdAgainst(t, stdout.Bytes()); code != exitOK || wrong > 0 || summary.Lines == 0 {
		t.Errorf("exit code %d, %d lines wrong, %s%s", code, wrong, &stdout, &stderr)
	}
}

func TestSendProgressFitsATerminal(t *testing.T) {
	for _, test := range []struct {
		p    send.Progress
		want string
	}{
		{send.Progress{Elapsed: time.Second, Lines: 1234567, Bytes: 890_000_000, Open: 1000, Done: 0.5, Failed: 12, Lost: 3}, "██████████░░░░░░░░░░  50 %  1,234,567 lines  890 MB/s  1000 open  12 failed  3 connections lost"},
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
