package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/tally"
)

// runningSink is the sink command, running in this process.
type runningSink struct {
	stderr  syncBuffer
	stdout  syncBuffer
	end     context.CancelFunc // ends the command like a signal
	code    int
	ended   chan struct{}
	targets []string // addresses, in order
	control string   // URL
}

// syncBuffer is a buffer that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startSink starts the command, and waits until it listens on that many addresses.
func startSink(t *testing.T, listeners int, args ...string) *runningSink {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &runningSink{end: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.code = runCommand(ctx, "sink", args, &r.stdout, &r.stderr)
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	controls := 0
	if strings.Contains(strings.Join(args, " "), "-control") {
		controls = 1
	}
	address := regexp.MustCompile(`(?m)(?:listening on \w+|orders on http)://(.*)$`)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		found := address.FindAllStringSubmatch(r.stderr.String(), -1)
		if len(found) == listeners+controls {
			for _, f := range found {
				r.targets = append(r.targets, f[1])
			}
			r.control = "http://" + r.targets[len(r.targets)-1]
			return r
		}
		select {
		case <-r.ended:
			t.Fatalf("exit code %d\n%s", r.code, r.stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not listen\n%s", r.stderr.String())
		}
	}
}

// check waits for the end of the command, and checks its exit code and part of its standard error.
func (r *runningSink) check(t *testing.T, code int, stderr string) {
	t.Helper()
	<-r.ended
	if r.code != code || !strings.Contains(r.stderr.String(), stderr) {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.stdout.String(), r.stderr.String())
	}
}

// sinkLines returns n records of a sender, the first of them with the number first.
func sinkLines(sender uint32, first, n int) (stream []byte) {
	g := record.NewGenerator(sender, record.Length{})
	for i := range first + n {
		if line := g.Append(nil, time.Now()); i >= first {
			stream = append(stream, line...)
		}
	}
	return stream
}

// deliver sends a stream on a new connection, and waits until both sides have closed it.
func deliver(t *testing.T, address string, stream []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(stream); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, conn)
}

// sinkAnywhere is a listener on a free port.
const sinkAnywhere = "tcp://127.0.0.1:0"

func TestSinkVerifies(t *testing.T) {
	sent := writeFile(t, `{"seconds":1,"numbered":true,"in_doubt":3,"senders":{"1":100},"clients":{}}`)
	also := writeFile(t, `{"numbered":true,"senders":{"2":10}}`)
	for _, test := range []struct {
		name    string
		args    []string
		streams [][]byte // to the sinks in turn
		code    int
		want    string // of stderr
	}{
		{name: "all well", args: []string{"-expect", sent},
			streams: [][]byte{sinkLines(1, 0, 50), sinkLines(1, 40, 60)}},
		{name: "two senders", args: []string{"-expect", sent + "," + also},
			streams: [][]byte{sinkLines(1, 0, 100), sinkLines(2, 0, 10)}},
		{name: "lost", args: []string{"-expect", sent},
			streams: [][]byte{sinkLines(1, 0, 50), sinkLines(1, 60, 40)}, code: exitFailed, want: "10 lost"},
		{name: "a gap",
			streams: [][]byte{sinkLines(1, 0, 50), sinkLines(1, 60, 40)}, code: exitFailed, want: "10 lost"},
		{name: "torn", args: []string{"-expect", sent},
			streams: [][]byte{sinkLines(1, 0, 100), []byte("half a line")}, code: exitFailed, want: "1 torn"},
		{name: "foreign",
			streams: [][]byte{sinkLines(1, 0, 100), []byte("foreign\n")}},
		{name: "strict", args: []string{"-strict"},
			streams: [][]byte{sinkLines(1, 0, 100), []byte("foreign\n")}, code: exitFailed, want: "1 corrupt"},
		{name: "expected, and foreign", args: []string{"-expect", sent},
			streams: [][]byte{sinkLines(1, 0, 100), []byte("foreign\n")}, code: exitFailed, want: "1 corrupt"},
		{name: "never sent", args: []string{"-expect", also},
			streams: [][]byte{sinkLines(2, 0, 11)}, code: exitFailed, want: "1 never sent"},
		{name: "no such file", args: []string{"-expect", "/nonexistent"},
			streams: [][]byte{sinkLines(1, 0, 1)}, code: exitCannotRun, want: "/nonexistent"},
		{name: "twice", args: []string{"-expect", sent + "," + sent},
			streams: [][]byte{sinkLines(1, 0, 1)}, code: exitCannotRun, want: "another -first-sender"},
		{name: "not numbered", args: []string{"-expect", writeFile(t, `{"senders":{"1":5}}`)},
			streams: [][]byte{sinkLines(1, 0, 1)}, code: exitCannotRun, want: "not numbered"},
		{name: "no summary", args: []string{"-expect", writeFile(t, `{}`)},
			streams: [][]byte{sinkLines(1, 0, 1)}, code: exitCannotRun, want: "no senders"},
		{name: "no JSON", args: []string{"-expect", writeFile(t, `sent`)},
			streams: [][]byte{sinkLines(1, 0, 1)}, code: exitCannotRun, want: "not the output of linesplit send"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-listen", sinkAnywhere + "," + sinkAnywhere, "-verify", "-until-quiet", "50ms", "-json"}
			r := startSink(t, 2, append(args, test.args...)...)
			deliverAll(t, r, test.streams)
			r.check(t, test.code, test.want)
			var account struct {
				Sinks  []struct{ Lines int }
				Report tally.Report
			}
			err := json.Unmarshal([]byte(r.stdout.String()), &account)
			if err != nil || len(account.Sinks) != 2 || account.Report.Received == 0 {
				t.Errorf("%v from %s", err, r.stdout.String())
			}
		})
	}
}

// deliverAll sends streams to the sinks in turn, one after the other. Another connection stays open
// all the while, so that -until-quiet does not end the run between two streams.
func deliverAll(t *testing.T, r *runningSink, streams [][]byte) {
	t.Helper()
	held, err := net.Dial("tcp", r.targets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for i := range r.targets {
		var stream []byte
		if i < len(streams) {
			stream = streams[i]
		}
		deliver(t, r.targets[i], stream)
	}
}

func TestSinkAccountForPeople(t *testing.T) {
	r := startSink(t, 1, "-listen", sinkAnywhere, "-verify", "-until-quiet", "50ms")
	deliver(t, r.targets[0], append(sinkLines(1, 3, 7), sinkLines(1, 3, 1)...))
	r.check(t, exitFailed, "not every line arrived as it was sent: 3 lost")
	for _, want := range []string{
		`(?m)^read 8 lines, 3\.\d kB|^read 8 lines, \d\.\d kB`,
		`(?m)^  tcp://127.0.0.1:\d+: 8 lines, .*; connections: 1 accepted$`,
		`(?m)^  sent +10   going by the last line of each sender that came$`,
		`(?m)^  received once +7$`,
		`(?m)^  lost +3   lines missing at the end cannot be known without -expect$`,
		`(?m)^  duplicated +1$`,
		`(?m)^  latency: p50 \S+s, p90 \S+s, p99 \S+s, p99.9 \S+s, max \S+s$`,
		`(?m)^  sender 1: 3 lost 0-2$`,
	} {
		if !regexp.MustCompile(want).MatchString(r.stdout.String()) {
			t.Errorf("no %s in\n%s", want, r.stdout.String())
		}
	}
}

func TestSinkOutput(t *testing.T) {
	lines := "one\ntwo\n"
	file := filepath.Join(t.TempDir(), "lines")
	r := startSink(t, 1, "-listen", sinkAnywhere, "-output", file, "-until-quiet", "50ms")
	deliver(t, r.targets[0], []byte(lines))
	r.check(t, exitOK, "")
	if got, err := os.ReadFile(file); string(got) != lines {
		t.Errorf("file has %q, %v", got, err)
	}
	r = startSink(t, 1, "-listen", sinkAnywhere, "-output", "-", "-json", "-until-quiet", "50ms")
	deliver(t, r.targets[0], []byte(lines))
	r.check(t, exitOK, `"lines":2`)
	if r.stdout.String() != lines {
		t.Errorf("stdout has %q", r.stdout.String())
	}
}

// A sink whose output had failed read on and threw everything away, and said so at its end only.
func TestSinkEndsWhenItsOutputFails(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	r := startSink(t, 2, "-listen", sinkAnywhere, "-listen", sinkAnywhere, "-output", "/dev/full", "-drain-timeout", "1h")
	idle, err := net.Dial("tcp", r.targets[1]) // it does not hold up the end
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	conn, err := net.Dial("tcp", r.targets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "a\nb\n")
	r.check(t, exitFailed, "write lines: write /dev/full: no space left on device")
}

// The end of the context is like a signal. Lines that come before the senders' FIN still count.
func TestSinkEndsInOrder(t *testing.T) {
	r := startSink(t, 1, "-listen", sinkAnywhere, "-json", "-request")
	conn, err := net.Dial("tcp", r.targets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "one")
	if _, err := io.ReadFull(conn, make([]byte, len("ok 1\n"))); err != nil {
		t.Error(err)
	}
	r.end()
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("connection ends with %v", err)
	}
	fmt.Fprintln(conn, "two")
	conn.(*net.TCPConn).CloseWrite()
	r.check(t, exitOK, "")
	if !strings.Contains(r.stdout.String(), `"lines":2`) {
		t.Errorf("account %s", r.stdout.String())
	}

	start := time.Now()
	r = startSink(t, 1, "-listen", sinkAnywhere, "-duration", "50ms")
	r.check(t, exitOK, "")
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("ended after %v", took)
	}

	r = startSink(t, 1, "-listen", sinkAnywhere, "-drain-timeout", "50ms") // its peer never sends FIN
	if conn, err = net.Dial("tcp", r.targets[0]); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.end()
	r.check(t, exitOK, "")
}

func TestSinkTakesOrders(t *testing.T) {
	r := startSink(t, 1, "-listen", sinkAnywhere, "-control", "127.0.0.1:0", "-verify")
	order := func(method, path, body string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, r.control+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %s", method, path, answer.Status)
		}
	}
	order("PUT", "/behaviour", `{"request":true}`)
	conn, err := net.Dial("tcp", r.targets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "line")
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); string(answer) != "ok 1\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	order("POST", "/crash?stall=1ms", "")
	if _, err := net.Dial("tcp", r.targets[0]); err == nil {
		t.Error("accepts after its crash")
	}
	order("POST", "/restart", "")
	deliver(t, r.targets[0], []byte("line\n"))
	order("GET", "/status", "")
	r.end()
	r.check(t, exitOK, "")
}

func TestSinkCannotRun(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, args := range map[string][]string{
		"listener":          {"-listen", "tcp://" + taken.Addr().String()},
		"second listener":   {"-listen", sinkAnywhere + ",tcp://" + taken.Addr().String()},
		"control":           {"-listen", sinkAnywhere, "-control", taken.Addr().String()},
		"output":            {"-listen", sinkAnywhere, "-output", "/nonexistent/file"},
		"name without host": {"-listen", "tcp://no-such-host.invalid:1"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runCommand(t.Context(), "sink", args, &stdout, &stderr)
			if code != exitCannotRun || !strings.Contains(stderr.String(), "linesplit sink: ") {
				t.Errorf("exit code %d, want %d\n%s", code, exitCannotRun, stderr.String())
			}
		})
	}
}
